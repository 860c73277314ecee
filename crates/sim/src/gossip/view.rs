//! What agents believe, compared with the truth.

use tribune_serf::Serf;
use tribune_swim::NodeState;
use tribune_types::member::MemberStatus;

use super::agent::{Life, name_of};
use super::oracle::{Truth, secs};
use super::pool::Pool;

/// A belief that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Who believes it.
    pub observer: usize,
    /// About whom.
    pub subject: usize,
    /// What happened to that one.
    pub truth: Truth,
    /// What is believed.
    pub believed: Option<MemberStatus>,
    /// Life in the table below.
    pub state: Option<NodeState>,
}

impl Pool {
    /// Agents so far, stopped ones included.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// True without agents.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Agents that run and are not paused.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.agents.len()).filter(|index| self.agents[*index].life == Life::Running)
    }

    /// The core of an agent that has one.
    pub fn core(&self, node: usize) -> Option<&Serf> {
        self.agents[node].core.as_ref()
    }

    /// What one agent believes of another.
    pub fn believes(&self, observer: usize, subject: usize) -> Option<MemberStatus> {
        Some(self.core(observer)?.member(&name_of(subject))?.status)
    }

    /// Wrong beliefs of running agents, at most `limit`. A stopped agent may be forgotten. O(n^2).
    pub fn disagreements(&self, limit: usize) -> Vec<Disagreement> {
        let mut all = Vec::new();
        let names: Vec<_> = (0..self.agents.len()).map(name_of).collect();
        for observer in self.running() {
            let Some(core) = self.core(observer) else {
                continue;
            };
            for (subject, name) in names.iter().enumerate() {
                let truth = self.oracle.truth(subject);
                let believed = core.member(name).map(|member| member.status);
                let state = core.entry(name).map(|entry| entry.state);
                let right = match truth {
                    Truth::Up => {
                        believed == Some(MemberStatus::Alive) && state == Some(NodeState::Alive)
                    }
                    Truth::Down => matches!(believed, None | Some(MemberStatus::Failed)),
                    Truth::Left => matches!(believed, None | Some(MemberStatus::Left)),
                };
                if !right {
                    all.push(Disagreement {
                        observer,
                        subject,
                        truth,
                        believed,
                        state,
                    });
                    if all.len() >= limit {
                        return all;
                    }
                }
            }
        }
        all
    }

    /// True if every running agent believes the truth of all.
    pub fn agrees(&self) -> bool {
        self.disagreements(1).is_empty()
    }

    /// Says which rules were broken, false failures aside: while half of a pool cannot hear the other half, some of what
    /// is said within a half gets lost, too, because it is told to those who are out of reach.
    ///
    /// # Errors
    /// In words, with the seed.
    pub fn check_rules(&self) -> Result<(), String> {
        match self.oracle.violations() {
            [] => Ok(()),
            wrong => Err(format!("seed {}:\n{}", self.seed(), wrong.join("\n"))),
        }
    }

    /// Says what is wrong: broken rules and false failures.
    ///
    /// # Errors
    /// In words, with the seed.
    pub fn check(&self) -> Result<(), String> {
        let mut wrong: Vec<String> = self.oracle.violations().to_vec();
        wrong.extend(self.oracle.false_failures().iter().take(20).map(|f| {
            format!(
                "{}: {} reports {} as failed, which runs",
                secs(f.at),
                f.observer,
                f.subject
            )
        }));
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("seed {}:\n{}", self.seed(), wrong.join("\n")))
    }

    /// The same, and that all agree with the truth.
    ///
    /// # Errors
    /// In words, with the seed.
    pub fn check_agreement(&self) -> Result<(), String> {
        self.check()?;
        self.check_beliefs()
    }

    /// That all agree with the truth.
    ///
    /// # Errors
    /// In words, with the seed.
    pub fn check_beliefs(&self) -> Result<(), String> {
        let wrong = self.disagreements(10);
        if wrong.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = wrong.iter().map(|one| format!("{one:?}")).collect();
        Err(format!(
            "seed {} at {}:\n{}",
            self.seed(),
            secs(self.now),
            lines.join("\n")
        ))
    }

    /// Of everything random.
    pub fn seed(&self) -> u64 {
        self.options.seed
    }
}
