//! Files on disk: whole and in part, damaged, cut short.

use super::*;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 13 + n / 250) as u8).collect()
}

fn kept(blobs: &Blobs, bytes: &[u8]) -> FileHash {
    let mut incoming = blobs.begin().unwrap();
    bytes.chunks(100_000).for_each(|some| incoming.write(some).unwrap());
    let (hash, len) = incoming.finish().unwrap();
    assert_eq!(len, bytes.len() as u64);
    hash
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn whole(blobs: &Blobs, hash: FileHash, len: usize) -> Vec<u8> {
    let held = blobs.read(hash, len as u64).unwrap().unwrap();
    (0..piece_count(len as u64)).flat_map(|index| held.piece(index).unwrap()).collect()
}

#[test]
fn the_same_bytes_take_the_place_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path().join("files")).unwrap();
    for len in [0, 5, FILE_PIECE_LEN, 3 * FILE_PIECE_LEN + 1] {
        let bytes = bytes(len);
        let hash = kept(&blobs, &bytes);
        assert_eq!(kept(&blobs, &bytes), hash);
        assert_eq!(whole(&blobs, hash, len), bytes);
        assert!(blobs.read(hash, len as u64 + 1).unwrap().is_none(), "of another length there is none");
        let mode = fs::metadata(blobs.whole(hash)).unwrap().mode() & 0o777;
        assert_eq!((mode, blobs.list().unwrap().len()), (0o600, 1));
        assert!(blobs.remove(hash).unwrap() && !blobs.remove(hash).unwrap());
        assert_eq!(names(&blobs.folder), [""; 0]);
    }
}

#[test]
fn what_is_dropped_or_was_cut_short_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path().to_owned()).unwrap();
    let mut incoming = blobs.begin().unwrap();
    incoming.write(&bytes(1_000_000)).unwrap();
    std::mem::forget(incoming);
    let mut other = blobs.begin().unwrap();
    other.write(b"x").unwrap();
    drop(other);
    assert_eq!(names(folder.path()).len(), 1);
    Blobs::open(folder.path().to_owned()).unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_part_is_what_its_pieces_hash_to() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let (here, there) = (Blobs::open(here).unwrap(), Blobs::open(there).unwrap());
    let bytes = bytes(4 * FILE_PIECE_LEN + 9);
    let (hash, len) = (kept(&there, &bytes), bytes.len() as u64);
    let held = there.read(hash, len).unwrap().unwrap();
    let part = here.part(hash, len).unwrap();
    assert!(!part.take(0, &held.piece(0).unwrap()).unwrap(), "nothing can be checked without the outline");
    let outline = held.outline().to_bytes();
    let mut lie = outline.clone();
    lie[3] ^= 1;
    assert!(!part.take_outline(&lie).unwrap() && part.take_outline(&outline).unwrap());
    let mut lie = held.piece(1).unwrap();
    lie[0] ^= 1;
    assert!(!part.take(1, &lie).unwrap() && !part.take(2, &held.piece(1).unwrap()).unwrap());
    assert!(part.take(1, &held.piece(1).unwrap()).unwrap() && part.take(4, &held.piece(4).unwrap()).unwrap());
    drop(part);
    // What a crash made of a piece is found out.
    let part = here.part(hash, len).unwrap();
    part.file.write_all_at(&[0; 5], piece_begin(4)).unwrap();
    let there_are: Vec<bool> = (0..5).map(|index| part.holds(index).unwrap()).collect();
    assert_eq!(there_are, [false, true, false, false, false]);
    for index in [0, 2, 3, 4] {
        assert!(part.take(index, &held.piece(index).unwrap()).unwrap());
    }
    assert!(!here.holds(hash));
    part.finish().unwrap();
    assert!(here.holds(hash));
    assert_eq!(whole(&here, hash, bytes.len()), bytes);
}

#[test]
fn a_damaged_file_is_given_to_nobody_and_mended_from_what_is_good_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path().to_owned()).unwrap();
    let bytes = bytes(3 * FILE_PIECE_LEN);
    let (hash, len) = (kept(&blobs, &bytes), bytes.len() as u64);
    let file = OpenOptions::new().write(true).open(blobs.whole(hash)).unwrap();
    file.write_all_at(&[0xff; 3], piece_begin(1) + 7).unwrap();
    let held = blobs.read(hash, len).unwrap().unwrap();
    assert!(held.piece(0).is_ok() && matches!(held.piece(1), Err(BlobError::Damaged)));
    fs::remove_file(blobs.outline_path(hash)).unwrap();
    assert!(matches!(blobs.read(hash, len), Err(BlobError::Damaged)), "nor without its outline");
    blobs.demote(hash).unwrap();
    assert!(!blobs.holds(hash) && !blobs.list().unwrap()[0].whole);
    // A lost outline of a good file is made anew.
    let hash = kept(&blobs, &bytes);
    fs::remove_file(blobs.outline_path(hash)).unwrap();
    assert_eq!(whole(&blobs, hash, bytes.len()), bytes);
    assert!(blobs.outline_path(hash).exists());
}
