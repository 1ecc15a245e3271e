//! Disks of one's own, mounted where only their own process sees them; the way there leads through /proc. Small ones in memory,
//! which can be full, and one in a file, whose power can be cut.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A mounted file system, which goes with this.
pub struct Disk {
    process: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub path: PathBuf,
}

impl Disk {
    /// A small one in memory, mounted on this folder. None where this machine does not let one mount anything.
    pub fn in_memory(folder: &Path, megabytes: usize) -> Option<Disk> {
        let script = "mount -t tmpfs -o size=\"$2\"m tmpfs \"$1\" && echo mounted && while read -r size; do \
                      mount -o remount,size=\"$size\"m \"$1\" && echo mounted; done";
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script, "sh"]).arg(folder).arg(megabytes.to_string());
        Disk::by(command, folder)
    }

    fn by(mut command: Command, folder: &Path) -> Option<Disk> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (asked, answers) = (process.stdin.take()?, process.stdout.take()?);
        let path = PathBuf::from(format!("/proc/{}/root{}", process.id(), folder.display()));
        let mut disk = Disk { process, asked, answers: BufReader::new(answers), path };
        disk.is_mounted().then_some(disk)
    }

    fn is_mounted(&mut self) -> bool {
        let mut line = String::new();
        self.answers.read_line(&mut line).is_ok() && line == "mounted\n"
    }

    /// Leaves no room, as far as nothing goes from it afterwards.
    pub fn fill(&self) {
        let mut filling = OpenOptions::new().create(true).append(true).open(self.path.join(FILLING)).unwrap();
        while filling.write_all(&[0x55; 65536]).is_ok() {}
        while filling.write_all(&[0x55]).is_ok() {}
    }

    /// Makes room again.
    pub fn empty(&self) {
        fs::remove_file(self.path.join(FILLING)).unwrap();
    }

    pub fn resize(&mut self, megabytes: usize) {
        writeln!(self.asked, "{megabytes}").unwrap();
        assert!(self.is_mounted());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A disk whose power can be cut: an ext4 file system in a file.
pub struct Power {
    disk: Disk,
    cut: PathBuf,
}

impl Power {
    /// Its file and what it needs go into this folder. None where one is not root, there is no C compiler, or the system has
    /// no ext4 or loop devices.
    pub fn of(folder: &Path) -> Option<Power> {
        let (image, mount, cut) = (folder.join("image"), folder.join("disk"), folder.join("power_cut"));
        fs::create_dir_all(&mount).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/power_cut.c");
        let is_done = |command: &mut Command| command.status().is_ok_and(|status| status.success());
        File::create(&image).unwrap().set_len(DISK_LEN).unwrap();
        let is_ready = is_done(Command::new("cc").args(["-O2", "-o"]).args([&cut, &source]))
            && is_done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).stderr(Stdio::null()));
        let script = "mount -o loop \"$1\" \"$2\" && echo mounted && while read -r _; do \
                      umount \"$2\" && mount -o loop \"$1\" \"$2\" && echo mounted; done";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).args([&image, &mount]).stderr(Stdio::null());
        let disk = is_ready.then(|| Disk::by(command, &mount)).flatten()?;
        let mut power = Power { disk, cut };
        // Some systems have ext4 without it.
        if !power.try_cut() {
            return None;
        }
        power.back();
        Some(power)
    }

    pub fn path(&self) -> &Path {
        &self.disk.path
    }

    fn try_cut(&self) -> bool {
        Command::new(&self.cut).arg(&self.disk.path).status().is_ok_and(|status| status.success())
    }

    /// Nothing that is not on the disk gets there.
    pub fn cut(&self) {
        assert!(self.try_cut());
    }

    /// The power is back: what is on the disk is there. Nobody may use anything of it.
    pub fn back(&mut self) {
        self.disk.resize(0);
    }
}

const FILLING: &str = "filling";
const DISK_LEN: u64 = 160_000_000;
