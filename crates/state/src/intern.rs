//! Sharing of repeated texts: names, tags, statuses and metadata exist once however many records carry them.
//!
//! Belongs to the writer alone and never influences results. Long texts (check output) are not worth a lookup and
//! pass through. Unused texts are swept when the set has doubled since the last sweep, so the set stays within twice
//! the texts in use.

use std::collections::BTreeSet;
use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Service};
use tribune_types::text::{Text, TextMap, fold};

/// Texts longer than this are not shared.
const LEN_MAX: usize = 64;
/// Sets smaller than this are not swept.
const SWEEP_MIN: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: BTreeSet<Text>,
    swept_len: usize,
}

impl Interner {
    /// Replaces `text` by the shared one of the same content.
    pub(crate) fn share(&mut self, text: &mut Text) {
        if text.is_empty() {
            *text = Text::default();
            return;
        }
        if text.len() > LEN_MAX {
            return;
        }
        if let Some(known) = self.texts.get(&**text) {
            *text = known.clone();
            return;
        }
        if self.texts.len() >= SWEEP_MIN.max(self.swept_len * 2) {
            self.texts.retain(|t| Arc::strong_count(t) > 1);
            self.swept_len = self.texts.len();
        }
        self.texts.insert(text.clone());
    }

    /// The shared case-folded form of `text`.
    pub(crate) fn folded(&mut self, text: &Text) -> Text {
        let mut out = folded(text);
        self.share(&mut out);
        out
    }

    pub(crate) fn share_node(&mut self, node: &mut Node) {
        for text in [&mut node.name, &mut node.address, &mut node.datacenter] {
            self.share(text);
        }
        self.share_map(&mut node.tagged_addresses);
        self.share_map(&mut node.meta);
    }

    pub(crate) fn share_service(&mut self, service: &mut Service) {
        for text in [&mut service.id, &mut service.name, &mut service.address] {
            self.share(text);
        }
        for (name, address) in &mut service.tagged_addresses {
            self.share(name);
            self.share(&mut address.address);
        }
        self.share_all(&mut service.tags);
        self.share_map(&mut service.meta);
    }

    pub(crate) fn share_check(&mut self, check: &mut Check) {
        for text in [
            &mut check.node,
            &mut check.id,
            &mut check.name,
            &mut check.notes,
            &mut check.output,
            &mut check.service_id,
            &mut check.service_name,
            &mut check.check_type,
        ] {
            self.share(text);
        }
        self.share_all(&mut check.service_tags);
    }

    fn share_all(&mut self, texts: &mut Vec<Text>) {
        texts.shrink_to_fit();
        for text in texts {
            self.share(text);
        }
    }

    fn share_map(&mut self, map: &mut Option<TextMap>) {
        if let Some(map) = map.as_mut().filter(|m| !m.is_empty()) {
            *map = map
                .iter()
                .map(|(k, v)| {
                    let (mut k, mut v) = (k.clone(), v.clone());
                    self.share(&mut k);
                    self.share(&mut v);
                    (k, v)
                })
                .collect();
        }
    }
}

/// The case-folded form of a name; shares the text if it is folded already.
pub(crate) fn folded(text: &Text) -> Text {
    if text
        .bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
    {
        text.clone()
    } else {
        Text::from(fold(text))
    }
}

/// Same as [`folded`] for a borrowed name.
pub(crate) fn folded_str(name: &str) -> Text {
    if name.is_empty() {
        Text::default()
    } else {
        Text::from(fold(name))
    }
}

/// True if two words are equal in any letter case. Does not allocate for ASCII.
pub(crate) fn same_word(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && fold(a) == fold(b))
}
