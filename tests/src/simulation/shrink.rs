//! From a plan that fails to a shorter one that still does.

use super::{
    plan::{Planned, Shape},
    run,
};

/// Leaves out faults as long as the seed fails without them: halves first, then smaller parts, then one by one. `told` hears
/// how many are left.
#[must_use]
pub fn shrink(seed: u64, shape: Shape, plan: Vec<Planned>, mut told: impl FnMut(usize)) -> Vec<Planned> {
    let fails = |plan: &[Planned]| !run(seed, shape, plan).violations.is_empty();
    let mut plan = plan;
    let mut part = plan.len().div_ceil(2);
    while part > 0 && !plan.is_empty() {
        let mut from = 0;
        while from < plan.len() {
            let to = (from + part).min(plan.len());
            let without: Vec<Planned> = plan[..from].iter().chain(&plan[to..]).cloned().collect();
            if fails(&without) {
                plan = without;
                told(plan.len());
            } else {
                from = to;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    plan
}
