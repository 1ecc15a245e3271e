//! A file that is imported: read again it is the same records, each its own, and each fits an event.

use std::collections::BTreeSet;
use tidings_node::import::Records;
use tidings_protocol::content::Content;
use tidings_protocol::limits::PAYLOAD_LEN_MAX;

/// Lines, as they stand in the file.
pub fn import(bytes: &[u8]) {
    let read = || {
        let mut records = Records::of("fuzz");
        bytes.split(|byte| *byte == b'\n').map(|line| records.read(line)).collect::<Vec<_>>()
    };
    let lines = read();
    assert_eq!(lines, read());
    let mut ids = BTreeSet::new();
    for line in lines {
        match line {
            Ok(record) => {
                assert!(ids.insert(record.source_id()), "two are one: {record:?}");
                let content = Content::Imported(record);
                let payload = content.encode();
                assert!(payload.len() <= PAYLOAD_LEN_MAX);
                assert_eq!(Content::decode(content.kind(), &payload), Ok(content));
            }
            Err(why) => assert!(!why.is_empty() && why.len() < WHY_LEN_MAX && !why.contains('\n'), "{why:?}"),
        }
    }
}

/// One sentence.
const WHY_LEN_MAX: usize = 400;
