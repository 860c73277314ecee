//! Founding a cluster where servers do not see the same pool.

use std::time::Duration;

use crate::harness::{self, Node};

/// Tells server `at` of these servers.
fn sees(nodes: &[Node], at: usize, seen: &[usize], expect: usize) {
    for other in seen {
        nodes[at].server.on_member(&nodes[*other].as_member(expect));
    }
}

async fn start(place: u8, numbers: &[u8], expect: u8) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in numbers {
        nodes.push(Node::start([127, 102, place, *number].into(), *number, expect).await);
    }
    nodes
}

async fn end(nodes: Vec<Node>) {
    for node in nodes {
        node.kill().await;
    }
}

#[test]
fn servers_that_see_different_sets_found_nothing_until_they_agree() {
    harness::run(async {
        // (what each of four servers sees, of which three are expected)
        for (round, views) in [
            // Two overlapping sets, and those in between see all.
            [
                vec![0, 1, 2],
                vec![0, 1, 2, 3],
                vec![0, 1, 2, 3],
                vec![1, 2, 3],
            ],
            // Each set has a majority that sees it.
            [vec![0, 1, 2], vec![1, 2, 3], vec![0, 1, 2], vec![1, 2, 3]],
            // The lowest is seen by nobody.
            [vec![0, 1, 2], vec![1, 2, 3], vec![1, 2], vec![1, 3]],
        ]
        .iter()
        .enumerate()
        {
            let nodes = start(200 + round as u8, &[1, 2, 3, 4], 3).await;
            for (at, seen) in views.iter().enumerate() {
                sees(&nodes, at, seen, 3);
            }
            nodes[0].pause(Duration::from_millis(700)).await;
            for node in &nodes {
                assert_eq!(node.server.status_leader(), "", "round {round}");
                assert_eq!(node.server.status_peers().len(), 0, "round {round}");
            }
            for at in 0..4 {
                sees(&nodes, at, &[0, 1, 2, 3], 3);
            }
            for node in &nodes {
                node.until("one leader of four", async || {
                    let leader = node.server.status_leader();
                    !leader.is_empty()
                        && leader == nodes[0].server.status_leader()
                        && node.server.status_peers().len() == 4
                })
                .await;
            }
            end(nodes).await;
        }
    });
}

#[test]
fn a_server_that_could_found_one_finds_the_cluster_that_is_there() {
    harness::run(async {
        let mut nodes = start(210, &[2, 3, 4], 3).await;
        for at in 0..3 {
            sees(&nodes, at, &[0, 1, 2], 3);
        }
        nodes[0]
            .until("a leader", async || {
                !nodes[0].server.status_leader().is_empty()
            })
            .await;
        nodes[0].set("k", "v").await.unwrap();
        // The lowest identity of all, and it expects three.
        nodes.append(&mut start(210, &[1], 3).await);
        sees(&nodes, 3, &[0, 1, 2, 3], 3);
        nodes[3].pause(Duration::from_millis(300)).await;
        assert_eq!(
            nodes[3].server.status_peers().len(),
            0,
            "nobody knows it yet"
        );
        for at in 0..3 {
            sees(&nodes, at, &[3], 3);
        }
        nodes[3]
            .until("to be a peer without a vote", async || {
                let peers = nodes[3].server.raft_metrics().membership.peers;
                peers.len() == 4 && peers.iter().filter(|peer| peer.voter).count() == 3
            })
            .await;
        end(nodes).await;
    });
}

#[test]
fn one_that_is_seen_but_cannot_be_reached_holds_the_founding_up() {
    harness::run(async {
        let mut nodes = start(211, &[1, 2, 3], 3).await;
        nodes[2].kill().await;
        for at in 0..2 {
            sees(&nodes, at, &[0, 1, 2], 3);
        }
        nodes[0].pause(Duration::from_millis(700)).await;
        assert_eq!(nodes[0].server.status_peers().len(), 0);
        nodes.truncate(2);
        nodes.append(&mut start(211, &[4], 3).await);
        let mut gone = nodes[0].as_member(3);
        gone.name = tribune_types::text::text("s3");
        gone.status = tribune_types::member::MemberStatus::Failed;
        for at in 0..3 {
            nodes[at].server.on_member(&gone);
            sees(&nodes, at, &[0, 1, 2], 3);
        }
        nodes[0]
            .until("the cluster without it", async || {
                nodes[0].server.status_peers().len() == 3
                    && !nodes[0].server.status_leader().is_empty()
            })
            .await;
        end(nodes).await;
    });
}
