//! Old bugs of gossip implementations, put back on purpose: a checker is trusted once one of these has made it fail.
//!
//! They are made in the network or around the core, so that the cores stay as they are.

use tribune_swim::{Message, NodeState, PushPull};

/// What is wrong with a simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bug {
    /// Nothing.
    #[default]
    None,
    /// Statements with an incarnation above 1 are lost: nobody can refute.
    LostRefutes,
    /// A suspicion is taken for a death: there is no time to refute.
    SuspicionIsDeath,
    /// The own entry of an exchanged table is ignored, and accusations against the receiver as well: a restarted agent
    /// never learns that it has to refute.
    DeafToAccusations,
}

impl Bug {
    /// What becomes of a message that arrives at the agent of this name; `None` if it is lost.
    pub(crate) fn message(self, to: &str, message: Message) -> Option<Message> {
        match (self, message) {
            (Bug::LostRefutes, Message::Alive(alive)) if alive.incarnation > 1 => None,
            (Bug::SuspicionIsDeath, Message::Suspect(word)) if *word.node != *to => {
                Some(Message::Dead(word))
            }
            (Bug::DeafToAccusations, Message::Suspect(word) | Message::Dead(word))
                if *word.node == *to =>
            {
                None
            }
            (_, message) => Some(message),
        }
    }

    /// The same for an exchanged state.
    pub(crate) fn state(self, to: &str, state: &mut PushPull) {
        match self {
            Bug::LostRefutes => {
                for node in &mut state.nodes {
                    if node.state == NodeState::Alive {
                        node.incarnation = 1;
                    }
                }
            }
            Bug::DeafToAccusations => state.nodes.retain(|node| *node.peer.name != *to),
            Bug::None | Bug::SuspicionIsDeath => {}
        }
    }
}
