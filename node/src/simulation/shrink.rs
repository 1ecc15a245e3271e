//! Makes what went wrong smaller: leaves out what is not needed for it, half by half, then piece by piece.

use super::check::{Kind, Violation};
use super::plan::Plan;
use super::run;

/// The smallest plan found that breaks the same promise, and how it does.
pub(super) fn shrink(plan: Plan, violation: Violation) -> (Plan, Violation) {
    let mut best = (plan, violation);
    let mut runs = RUNS_MAX;
    loop {
        let before = size(&best.0);
        leave_out(&mut best, &mut runs, |plan| plan.faults.len(), |plan, from, to| drop(plan.faults.drain(from..to)));
        leave_out(&mut best, &mut runs, |plan| plan.deeds.len(), |plan, from, to| drop(plan.deeds.drain(from..to)));
        simplify(&mut best, &mut runs);
        if runs == 0 || size(&best.0) == before {
            return best;
        }
    }
}

fn size(plan: &Plan) -> usize {
    plan.faults.len() + plan.deeds.len() + plan.traitors.len() + usize::from(plan.loss > 0) + plan.rooms.len()
}

/// Leaves out stretches of a list: first halves, in the end single ones.
fn leave_out(
    best: &mut (Plan, Violation),
    runs: &mut u32,
    len: impl Fn(&Plan) -> usize,
    cut: impl Fn(&mut Plan, usize, usize),
) {
    let mut part = len(&best.0).div_ceil(2);
    while part > 0 {
        let mut from = 0;
        while from < len(&best.0) {
            let to = (from + part).min(len(&best.0));
            let mut less = best.0.clone();
            cut(&mut less, from, to);
            if !take(best, runs, less) {
                from = to;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
}

fn simplify(best: &mut (Plan, Violation), runs: &mut u32) {
    let changes: [fn(&mut Plan); 4] = [
        |plan| plan.loss = 0,
        |plan| plan.doubled = 0,
        |plan| plan.skew_ms.iter_mut().for_each(|skew| *skew = 0),
        |plan| plan.traitors.values_mut().for_each(std::collections::BTreeSet::clear),
    ];
    for change in changes {
        let mut less = best.0.clone();
        change(&mut less);
        take(best, runs, less);
    }
}

/// Takes the smaller plan if the same goes wrong.
fn take(best: &mut (Plan, Violation), runs: &mut u32, less: Plan) -> bool {
    if *runs == 0 {
        return false;
    }
    *runs -= 1;
    match run(less.clone()).0 {
        Err(violation) if violation.kind == best.1.kind && violation.kind != Kind::OtherTrace => {
            *best = (less, violation);
            true
        }
        _ => false,
    }
}

/// Runs that making it smaller may take.
const RUNS_MAX: u32 = 400;
