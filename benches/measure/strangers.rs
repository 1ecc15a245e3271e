//! How soon who is not let into a room is answered, beside whoever asks about a room that nobody has.

use crate::Result;
use crate::report::Report;
use crate::support::asks::Door;
use std::path::Path;

/// Every kind of stranger asks in turns about a room and about none.
pub fn run(report: &mut Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    report.part("Strangers: the answer about a room that they may not see, and about one that nobody has");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let door = Door::new(folder);
    for answers in runtime.block_on(door.ask(TIMES)) {
        let (known, unknown, spread) = answers.medians();
        let value = format!(
            "{known:.1} and {unknown:.1} us, {:.1} us apart; quartiles {spread:.1} us apart; {} bytes",
            (known - unknown).abs(),
            if answers.equal { "equal" } else { "DIFFERENT" }
        );
        let holds = answers.equal && (known - unknown).abs() < spread;
        let name = format!("{}, medians of {TIMES}", answers.who);
        report.figure(&name, &value, "equal bytes, medians closer than the quartiles", holds);
    }
    Ok(())
}

const TIMES: usize = 1000;
