//! Sources into one: scalars are replaced, lists appended, maps merged per key, objects merged field by field.
//!
//! Both sides are decoded (canonical keys). The rules are those of config.md section 1.

use crate::schema::{Kind, Schema};
use crate::tree::{Object, Tree};

/// Puts `later` over `base`.
pub(crate) fn merge(base: &mut Object, later: Object, schema: &'static Schema) {
    for (key, value) in later {
        let kind = schema.kind(&key);
        match (kind, base.get_mut(&key), value) {
            (Some(Kind::List(_)), Some(Tree::List(have)), Tree::List(more)) => have.extend(more),
            (Some(Kind::Map(_)), Some(Tree::Map(have)), Tree::Map(more)) => have.extend(more),
            (Some(Kind::Obj(schema)), Some(Tree::Map(have)), Tree::Map(more)) => {
                merge(have, more, schema)
            }
            (_, _, value) => {
                base.insert(key, value);
            }
        }
    }
}
