//! Central nodes of a network restart one at a time (ADR 37); pure.

/// How a central node stands while another one wants to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RollingNode {
    /// Its resource.
    pub name: String,
    /// Its pod is up to date and ready.
    pub settled: bool,
}

/// Whether a central node may change its pod now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may.
    Now,
    /// Not before this one is ready again.
    After(String),
}

/// A node that serves waits while another one does not, or has been let go first; one that does not serve may change at
/// any time, since nobody loses by it, and a bad change must be repairable.
#[must_use]
pub(crate) fn turn(me: &RollingNode, others: &[RollingNode], holder: Option<&str>) -> Turn {
    if !me.settled {
        return Turn::Now;
    }
    let changing = holder.filter(|holder| *holder != me.name && others.iter().any(|o| o.name == **holder));
    let unsettled = others.iter().find(|other| !other.settled).map(|other| other.name.as_str());
    match changing.or(unsettled) {
        Some(other) => Turn::After(other.to_owned()),
        None => Turn::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, settled: bool) -> RollingNode {
        RollingNode { name: name.into(), settled }
    }

    #[test]
    fn one_at_a_time() {
        let all_well = [member("n1", true), member("n2", true)];
        assert_eq!(turn(&member("n0", true), &all_well, None), Turn::Now);
        assert_eq!(turn(&member("n0", true), &all_well, Some("n0")), Turn::Now);
        assert_eq!(turn(&member("n0", true), &all_well, Some("n1")), Turn::After("n1".into()));
        let one_down = [member("n1", true), member("n2", false)];
        assert_eq!(turn(&member("n0", true), &one_down, None), Turn::After("n2".into()));
    }

    #[test]
    fn one_that_does_not_serve_may_change_at_once() {
        assert_eq!(turn(&member("n0", false), &[member("n1", false)], Some("n1")), Turn::Now);
    }

    #[test]
    fn a_holder_that_is_gone_holds_nobody_up() {
        assert_eq!(turn(&member("n0", true), &[member("n1", true)], Some("n9")), Turn::Now);
    }
}
