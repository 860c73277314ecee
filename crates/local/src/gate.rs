//! Thresholds: how many results in a row it takes to change a status (spec agent.md 1.2).

use tribune_types::catalog::Status;

/// Counts results of one check and decides which of them are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusGate {
    needed_successes: i64,
    needed_failures: i64,
    successes: i64,
    failures: i64,
}

impl StatusGate {
    /// A gate whose first result of either kind acts at once.
    pub fn new(success_before_passing: i64, failures_before_critical: i64) -> StatusGate {
        StatusGate {
            needed_successes: success_before_passing,
            needed_failures: failures_before_critical,
            successes: success_before_passing,
            failures: failures_before_critical,
        }
    }

    /// Takes a result; true if it is to be stored.
    pub fn admits(&mut self, status: Status) -> bool {
        let (counter, needed, other) = match status {
            Status::Passing | Status::Warning => (
                &mut self.successes,
                self.needed_successes,
                &mut self.failures,
            ),
            Status::Critical => (
                &mut self.failures,
                self.needed_failures,
                &mut self.successes,
            ),
        };
        *other = 0;
        *counter = counter.saturating_add(1);
        let reached = *counter >= needed;
        if reached {
            *counter = needed;
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_changes_after_enough_results_of_its_kind() {
        // (successes needed, failures needed, results, which are stored); p, w, c are the results
        for (needs, fails, results, stored) in [
            (0, 0, "pcpwc", "yyyyy"),
            (3, 3, "cppp", "ynny"),
            (3, 3, "cpppccc", "ynnynny"),
            (3, 3, "cppcppp", "ynnnnny"),
            (2, 0, "pcwp", "yyny"),
            (0, 2, "pcpcc", "ynyny"),
            (-1, -5, "pc", "yy"),
        ] {
            let mut gate = StatusGate::new(needs, fails);
            let got: String = results
                .chars()
                .map(|c| match c {
                    'p' => Status::Passing,
                    'w' => Status::Warning,
                    _ => Status::Critical,
                })
                .map(|status| if gate.admits(status) { 'y' } else { 'n' })
                .collect();
            assert_eq!(got, stored, "{needs}/{fails} {results}");
        }
    }
}
