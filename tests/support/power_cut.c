/* Cuts the power of the ext4 file system in which the path named lies: nothing that is not on its disk yet ever gets there,
   its journal included. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_THE_LOG 2

int main(int count, char **words) {
    uint32_t how = WITHOUT_THE_LOG;
    int fd = count == 2 ? open(words[1], O_RDONLY) : -1;
    if (fd < 0 || ioctl(fd, EXT4_IOC_SHUTDOWN, &how) != 0) {
        perror("power_cut");
        return 1;
    }
    return 0;
}
