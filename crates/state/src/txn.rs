//! Transactions: every operation is run, so that all errors are listed; with any error nothing is applied
//! (spec http-api.md 3.5).
//!
//! Rolling back is free: the tables are persistent, the copy from before is put back.

use tribune_types::catalog::{Check, Node, Service};
use tribune_types::id::Index;
use tribune_types::kv::KvEntry;
use tribune_types::text::Text;
use tribune_types::txn::{CatalogVerb, KvVerb, TxnError, TxnOp, TxnOutcome, TxnResult};

use crate::change::Change;
use crate::intern::folded;
use crate::tables::{Place, Tables};

type OpResult = Result<Vec<TxnResult>, String>;

impl Change<'_> {
    pub(crate) fn txn(&mut self, ops: &[TxnOp]) -> TxnOutcome {
        let before = self.tables.clone();
        let outcome = run(ops, self.index, |op| self.txn_op(op));
        if !outcome.errors.is_empty() {
            *self.tables = before;
            self.touched.clear();
            self.effects.clear();
        }
        outcome
    }

    fn txn_op(&mut self, op: &TxnOp) -> OpResult {
        match op {
            _ if op.is_read() => read_op(self.tables, op),
            TxnOp::Kv(verb, entry) => self.txn_kv(*verb, entry),
            TxnOp::Node(verb, node) => self.txn_node(*verb, node),
            TxnOp::Service(verb, node, service) => self.txn_service(*verb, node, service),
            TxnOp::Check(verb, check) => self.txn_check(*verb, check),
            TxnOp::SessionDestroy(id) => {
                self.session_end(id);
                Ok(Vec::new())
            }
        }
    }

    fn txn_kv(&mut self, verb: KvVerb, entry: &KvEntry) -> OpResult {
        let key = shown(&entry.key);
        let written = match verb {
            KvVerb::Set => self.kv_set(entry.clone()),
            KvVerb::Cas => self
                .kv_cas(entry.clone())
                .ok_or_else(|| format!("failed to set key {key}, index is stale"))?,
            KvVerb::Lock => {
                let locked = self.kv_lock(entry.clone()).map_err(|e| e.to_string())?;
                locked.ok_or_else(|| format!("failed to lock key {key}, lock is already held"))?
            }
            KvVerb::Unlock => {
                let freed = self.kv_unlock(entry.clone()).map_err(|e| e.to_string())?;
                freed.ok_or_else(|| {
                    format!(
                        "failed to unlock key {key}, lock isn't held, or is held by another session"
                    )
                })?
            }
            KvVerb::Delete => {
                self.kv_delete(&entry.key);
                return Ok(Vec::new());
            }
            KvVerb::DeleteTree => {
                self.kv_delete_tree(&entry.key);
                return Ok(Vec::new());
            }
            KvVerb::DeleteCas => {
                let done = self.kv_delete_cas(&entry.key, entry.modify);
                return deleted(done, || {
                    format!("failed to delete key {key}, index is stale")
                });
            }
            KvVerb::Get
            | KvVerb::GetTree
            | KvVerb::CheckIndex
            | KvVerb::CheckSession
            | KvVerb::CheckNotExists => {
                return Ok(Vec::new());
            }
        };
        Ok(vec![TxnResult::Kv {
            entry: written,
            with_value: false,
        }])
    }

    fn txn_node(&mut self, verb: CatalogVerb, node: &Node) -> OpResult {
        let stored = self
            .tables
            .nodes
            .get(&folded(&node.name))
            .map(|old| old.modify);
        let name = &node.name;
        match verb {
            CatalogVerb::Get => return Ok(Vec::new()),
            CatalogVerb::Delete => {
                self.remove_node(name);
                return Ok(Vec::new());
            }
            CatalogVerb::DeleteCas => {
                let is_current = stored == Some(node.modify);
                if is_current {
                    self.remove_node(name);
                }
                return deleted(is_current, || {
                    format!("failed to delete node {name:?}, index is stale")
                });
            }
            CatalogVerb::Cas if stored.unwrap_or_default() != node.modify => {
                return Err(format!("failed to set node {name:?}, index is stale"));
            }
            CatalogVerb::Cas | CatalogVerb::Set => self.place_node(node.clone())?,
        }
        Ok(self
            .tables
            .nodes
            .get(&folded(name))
            .cloned()
            .map(TxnResult::Node)
            .into_iter()
            .collect())
    }

    fn txn_service(&mut self, verb: CatalogVerb, node: &Text, service: &Service) -> OpResult {
        let mut service = service.clone();
        if service.id.is_empty() {
            service.id = service.name.clone();
        }
        let place: Place = (
            self.interner.folded(node),
            self.interner.folded(&service.id),
        );
        let stored = self.tables.services.get(&place).map(|old| old.modify);
        let id = service.id.clone();
        match verb {
            CatalogVerb::Get => return Ok(Vec::new()),
            CatalogVerb::Delete => {
                self.remove_service(&place);
                return Ok(Vec::new());
            }
            CatalogVerb::DeleteCas => {
                let is_current = stored == Some(service.modify);
                if is_current {
                    self.remove_service(&place);
                }
                return deleted(is_current, || {
                    format!("failed to delete service {id:?} on node {node:?}, index is stale")
                });
            }
            CatalogVerb::Cas if stored.unwrap_or_default() != service.modify => {
                return Err(format!(
                    "failed to set service {id:?} on node {node:?}, index is stale"
                ));
            }
            CatalogVerb::Cas | CatalogVerb::Set => {
                self.place_service(&place.0, service)
                    .map_err(|e| e.to_string())?;
            }
        }
        Ok(self
            .tables
            .services
            .get(&place)
            .cloned()
            .map(TxnResult::Service)
            .into_iter()
            .collect())
    }

    fn txn_check(&mut self, verb: CatalogVerb, check: &Check) -> OpResult {
        let mut check = check.clone();
        if check.id.is_empty() {
            check.id = check.name.clone();
        }
        let place: Place = (
            self.interner.folded(&check.node),
            self.interner.folded(&check.id),
        );
        let stored = self.tables.checks.get(&place).map(|old| old.modify);
        let (id, node) = (check.id.clone(), check.node.clone());
        match verb {
            CatalogVerb::Get => return Ok(Vec::new()),
            CatalogVerb::Delete => {
                self.remove_check(&place);
                return Ok(Vec::new());
            }
            CatalogVerb::DeleteCas => {
                let is_current = stored == Some(check.modify);
                if is_current {
                    self.remove_check(&place);
                }
                return deleted(is_current, || {
                    format!("failed to delete check {id:?} on node {node:?}, index is stale")
                });
            }
            CatalogVerb::Cas if stored.unwrap_or_default() != check.modify => {
                return Err(format!(
                    "failed to set check {id:?} on node {node:?}, index is stale"
                ));
            }
            CatalogVerb::Cas | CatalogVerb::Set => {
                self.place_check(&place.0, check)
                    .map_err(|e| e.to_string())?;
            }
        }
        Ok(self
            .tables
            .checks
            .get(&place)
            .cloned()
            .map(TxnResult::Check)
            .into_iter()
            .collect())
    }
}

/// Evaluates a transaction on one version. Operations that write are errors.
pub(crate) fn read(tables: &Tables, ops: &[TxnOp]) -> TxnOutcome {
    run(ops, tables.last_index, |op| {
        if op.is_read() {
            read_op(tables, op)
        } else {
            Err("operation is not a read".to_owned())
        }
    })
}

fn run(ops: &[TxnOp], index: Index, mut op: impl FnMut(&TxnOp) -> OpResult) -> TxnOutcome {
    let mut outcome = TxnOutcome {
        index,
        ..TxnOutcome::default()
    };
    for (op_index, one) in ops.iter().enumerate() {
        match op(one) {
            Ok(results) => outcome.results.extend(results),
            Err(what) => outcome.errors.push(TxnError { op_index, what }),
        }
    }
    if !outcome.errors.is_empty() {
        outcome.results = Vec::new();
    }
    outcome
}

fn read_op(tables: &Tables, op: &TxnOp) -> OpResult {
    match op {
        TxnOp::Kv(verb, entry) => read_kv(tables, *verb, entry),
        TxnOp::Node(_, node) => {
            let found = match &node.id {
                Some(id) => tables.node_by_id(id),
                None => tables.nodes.get(&folded(&node.name)),
            };
            let found = found
                .cloned()
                .ok_or_else(|| format!("node {:?} doesn't exist", node.name))?;
            Ok(vec![TxnResult::Node(found)])
        }
        TxnOp::Service(_, node, service) => {
            let id = if service.id.is_empty() {
                &service.name
            } else {
                &service.id
            };
            let found = tables.services.get(&(folded(node), folded(id)));
            let found = found
                .cloned()
                .ok_or_else(|| format!("service {id:?} on node {node:?} doesn't exist"))?;
            Ok(vec![TxnResult::Service(found)])
        }
        TxnOp::Check(_, check) => {
            let (id, node) = (
                if check.id.is_empty() {
                    &check.name
                } else {
                    &check.id
                },
                &check.node,
            );
            let found = tables.checks.get(&(folded(node), folded(id)));
            let found = found
                .cloned()
                .ok_or_else(|| format!("check {id:?} on node {node:?} doesn't exist"))?;
            Ok(vec![TxnResult::Check(found)])
        }
        TxnOp::SessionDestroy(_) => Ok(Vec::new()),
    }
}

fn read_kv(tables: &Tables, verb: KvVerb, wanted: &KvEntry) -> OpResult {
    let key = shown(&wanted.key);
    let found = tables.pair(&wanted.key).cloned();
    let (entry, with_value) = match verb {
        KvVerb::GetTree => {
            let pairs = tables.pairs_under(&wanted.key).cloned();
            return Ok(pairs
                .map(|entry| TxnResult::Kv {
                    entry,
                    with_value: true,
                })
                .collect());
        }
        KvVerb::CheckNotExists => {
            return if found.is_some() {
                Err(format!("key {key} exists"))
            } else {
                Ok(Vec::new())
            };
        }
        KvVerb::CheckIndex => {
            let entry =
                found.ok_or_else(|| format!("failed to check index, key {key} doesn't exist"))?;
            if entry.modify != wanted.modify {
                return Err(format!(
                    "failed index check for key {key}, current modify index {} != {}",
                    entry.modify, wanted.modify
                ));
            }
            (entry, false)
        }
        KvVerb::CheckSession => {
            let entry =
                found.ok_or_else(|| format!("failed to check session, key {key} doesn't exist"))?;
            if entry.session != wanted.session {
                let id = |of: &KvEntry| of.session.map(|id| id.to_string()).unwrap_or_default();
                return Err(format!(
                    "failed session check for key {key}, current session {:?} != {:?}",
                    id(&entry),
                    id(wanted)
                ));
            }
            (entry, false)
        }
        _ => (
            found.ok_or_else(|| format!("key {key} doesn't exist"))?,
            true,
        ),
    };
    Ok(vec![TxnResult::Kv { entry, with_value }])
}

fn deleted(done: bool, what: impl FnOnce() -> String) -> OpResult {
    if done { Ok(Vec::new()) } else { Err(what()) }
}

/// A key as texts name it. Keys of clients are text; other bytes are replaced.
fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}
