//! What the numbers of SWIM, Lifeguard and epidemic spreading say about a pool, to be compared with what was measured.
//!
//! Sources: gossip.md sections 6.2, 6.5 and 6.7 for limits and timers; the SWIM paper for the expected number of periods
//! until a failed member is first probed, 1 / (1 - 1/e); the logistic equation of epidemics for the time of spreading.

use std::time::Duration;

use tribune_swim::Timing;

/// Predictions for a pool of a size.
#[derive(Debug, Clone)]
pub struct Predict {
    /// Entries in the table of each agent.
    pub nodes: usize,
    /// Times and counts.
    pub timing: Timing,
    /// Share of datagrams lost.
    pub loss: f64,
}

impl Predict {
    /// Transmissions of a broadcast by each agent.
    pub fn retransmissions(&self) -> usize {
        let digits = ((self.nodes + 1) as f64).log10().ceil() as usize;
        (self.timing.retransmit_mult * digits).max(1)
    }

    /// Time between two exchanges that one agent begins.
    pub fn push_pull_interval(&self) -> Duration {
        if self.nodes <= 32 {
            return self.timing.push_pull_interval;
        }
        let steps = ((self.nodes as f64).log2() - 5.0).ceil() as u32 + 1;
        self.timing.push_pull_interval * steps
    }

    /// Confirmations after which a suspicion is as short as it can be.
    pub fn confirmations(&self) -> u32 {
        let k = self.timing.suspicion_mult.saturating_sub(2);
        if (self.nodes as u64) < u64::from(k) + 2 {
            0
        } else {
            k
        }
    }

    /// Shortest suspicion.
    pub fn suspicion_min(&self) -> Duration {
        let digits = (self.nodes.max(1) as f64).log10().max(1.0);
        let factor = (digits * 1000.0).floor() / 1000.0;
        (self.timing.probe_interval * self.timing.suspicion_mult).mul_f64(factor)
    }

    /// Longest suspicion: that of an accuser whom nobody confirms.
    pub fn suspicion_max(&self) -> Duration {
        if self.confirmations() == 0 {
            return self.suspicion_min();
        }
        self.suspicion_min() * self.timing.suspicion_timeout_max_mult
    }

    /// Expected time from a failure to the first suspicion, in the paper's model: all agents probe once per period, in
    /// the same moment, 1 / (1 - 1/e) periods until one of them chooses the failed one; the probe itself takes a period.
    pub fn first_suspicion_paper(&self) -> Duration {
        let periods = 1.0 / (1.0 - (-1.0_f64).exp());
        self.timing.probe_interval.mul_f64(periods) + self.timing.probe_interval
    }

    /// The same with agents that probe at moments independent of one another: probes of the failed one are a Poisson
    /// process with one per period, so its first is a period away on average.
    pub fn first_suspicion(&self) -> Duration {
        self.timing.probe_interval * 2
    }

    /// In all but one of a million cases the first suspicion is earlier.
    pub fn first_suspicion_bound(&self) -> Duration {
        self.timing.probe_interval.mul_f64(1.0 + 1e6_f64.ln())
    }

    /// Messages per second that an agent with news sends to random others.
    fn spread_rate(&self) -> f64 {
        self.timing.gossip_nodes as f64 * (1.0 - self.loss)
            / self.timing.gossip_interval.as_secs_f64()
    }

    /// Expected time until news of one agent are known by all. The number of those who know grows by the logistic
    /// equation: ln n / rate until half of them know, the same again until the last one does; half a gossip interval
    /// passes before the first one speaks, and the last of n is later than the mean by Euler's constant.
    pub fn spread(&self) -> Duration {
        let n = (self.nodes.max(2)) as f64;
        let secs = (2.0 * n.ln() + 0.5772) / self.spread_rate();
        Duration::from_secs_f64(secs) + self.timing.gossip_interval / 2
    }

    /// Rounds of gossip until all know, if all speak at the same moment: log(n) to the base of fanout + 1 until most
    /// know, then ln(n) / fanout.
    pub fn spread_rounds(&self) -> f64 {
        let n = self.nodes.max(2) as f64;
        let fanout = self.timing.gossip_nodes as f64 * (1.0 - self.loss);
        n.ln() / (fanout + 1.0).ln() + n.ln() / fanout
    }

    /// Expected number of agents that gossip alone never reaches: each agent is the target of as many transmissions as
    /// each one makes, on average, and each of these is a draw of its own.
    pub fn unreached(&self) -> f64 {
        self.nodes as f64 * (-(self.retransmissions() as f64) * (1.0 - self.loss)).exp()
    }

    /// Expected time from a failure until all agents know of it, when accusers confirm one another before the shortest
    /// suspicion is over (one more accuser per period does).
    pub fn failure_known(&self) -> Duration {
        self.first_suspicion() + self.suspicion_min() + self.spread()
    }

    /// Datagrams that an idle agent sends per second: one ping and, on average, one ack.
    pub fn idle_packets(&self) -> f64 {
        2.0 / self.timing.probe_interval.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: usize) -> Predict {
        Predict {
            nodes,
            timing: Timing::lan(),
            loss: 0.0,
        }
    }

    #[test]
    fn limits_and_timers_follow_the_size_of_the_pool() {
        // (nodes, transmissions, push/pull s, shortest suspicion ms, longest ms)
        for (nodes, sends, exchange, min, max) in [
            (2, 4, 30, 4_000, 4_000 * 6),
            (3, 4, 30, 4_000, 4_000 * 6),
            (9, 4, 30, 4_000, 24_000),
            (32, 8, 30, 6_020, 36_120),
            (33, 8, 60, 6_072, 36_432),
            (100, 12, 90, 8_000, 48_000),
            (1_000, 16, 180, 12_000, 72_000),
            (10_000, 20, 300, 16_000, 96_000),
        ] {
            let p = of(nodes);
            assert_eq!(p.retransmissions(), sends, "{nodes}");
            assert_eq!(p.push_pull_interval().as_secs(), exchange, "{nodes}");
            assert_eq!(p.suspicion_min().as_millis(), min, "{nodes}");
            if nodes > 3 {
                assert_eq!(p.suspicion_max().as_millis(), max, "{nodes}");
            } else {
                assert_eq!(p.suspicion_max(), p.suspicion_min(), "{nodes}");
            }
        }
    }

    #[test]
    fn spreading_takes_logarithmic_time() {
        let (small, large) = (of(100).spread(), of(10_000).spread());
        assert!(large < small * 2, "{small:?} {large:?}");
        assert!(large > Duration::from_millis(1_200) && large < Duration::from_millis(1_500));
        assert!(of(10_000).unreached() < 1e-4);
        assert!(of(10_000).spread_rounds() > 9.0 && of(10_000).spread_rounds() < 10.0);
    }
}
