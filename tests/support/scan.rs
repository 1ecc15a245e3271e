//! Looks for bytes in every file of a folder, as somebody would who has taken the disk out: as they are, and in whatever
//! zstd frame lies anywhere in a file. (LZ4 leaves what does not repeat as it is.)

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files of a folder in which twelve bytes in a row of any of these stand.
pub fn files_with(folder: &Path, needles: &[&[u8]]) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    walk(folder, &mut |path, bytes| {
        let frames = frames(bytes);
        for (n, needle) in needles.iter().enumerate() {
            let parts: Vec<&[u8]> = needle.windows(PART.min(needle.len())).step_by(3).collect();
            if has(bytes, &parts) || frames.iter().any(|frame| has(frame, &parts)) {
                found.push((path.to_owned(), n));
            }
        }
    });
    found
}

fn walk(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), look),
            // A file may go while we look; a socket is none.
            Ok(kind) if kind.is_file() => {
                if let Ok(bytes) = fs::read(entry.path()) {
                    look(&entry.path(), &bytes);
                }
            }
            _ => {}
        }
    }
}

/// What every zstd frame that begins anywhere in these bytes has, as far as it reads.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let begins = bytes.windows(4).enumerate().filter(|(_, magic)| *magic == [0x28, 0xb5, 0x2f, 0xfd]);
    let read = |(at, _): (usize, &[u8])| {
        let mut out = Vec::new();
        let decoder = zstd::Decoder::with_buffer(&bytes[at..]).ok()?.single_frame();
        let _ = decoder.take(16 << 20).read_to_end(&mut out);
        Some(out)
    };
    begins.filter_map(read).collect()
}

fn has(bytes: &[u8], parts: &[&[u8]]) -> bool {
    // Few places begin alike, so that a folder is looked through in a second.
    let firsts: Vec<u8> = parts.iter().filter_map(|part| part.first().copied()).collect();
    let mut is_first = [false; 256];
    firsts.iter().for_each(|byte| is_first[usize::from(*byte)] = true);
    (0..bytes.len())
        .any(|at| is_first[usize::from(bytes[at])] && parts.iter().any(|part| bytes[at..].starts_with(part)))
}

/// So much of a needle is as good as all of it.
const PART: usize = 12;
