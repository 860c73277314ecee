//! Boolean filter expressions (`filter=`): parse, check against a schema, evaluate.
//!
//! In: the text of an expression and the [`Schema`] of the records it will meet. Out: a [`Filter`]
//! that answers [`Filter::matches`] for anything that implements [`Fields`]. Evaluation allocates
//! nothing and cannot fail: every selector, operator and value was checked when the filter was
//! built.
//!
//! Outside rules: spec agent.md section 10, and Consul 1.8.7's answers for error texts and
//! positions (the tables in `tests/` were taken from a running agent).

mod check;
mod error;
mod eval;
mod goquote;
mod goregexp;
mod parser;
mod pattern;
pub mod records;
mod schema;
pub mod schemas;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use error::FilterError;
pub use pattern::Pattern;
pub use schema::{Field, Fields, Kind, Schema, StrList, StrMap};

use check::Plan;

/// Longest accepted expression in bytes.
pub const EXPR_SIZE_MAX: usize = 64 * 1024;

/// A checked expression, cheap to clone. Two filters are equal when their texts are.
#[derive(Clone)]
pub struct Filter {
    source: Arc<str>,
    plan: Option<Arc<Plan>>,
}

impl Filter {
    /// Parses `expr` and checks every selector, operator and value against `schema`.
    /// The empty text is the filter that lets everything through.
    pub fn parse(expr: &str, schema: &'static Schema) -> Result<Filter, FilterError> {
        if expr.len() > EXPR_SIZE_MAX {
            return Err(FilterError::TooLong { size: expr.len() });
        }
        let plan = if expr.is_empty() {
            None
        } else {
            Some(Arc::new(check::check(parser::parse(expr)?, schema)?))
        };
        Ok(Filter {
            source: expr.into(),
            plan,
        })
    }

    /// Whether `item` passes.
    pub fn matches(&self, item: &dyn Fields) -> bool {
        self.plan.as_ref().is_none_or(|plan| eval::eval(plan, item))
    }

    /// Whether this is the empty expression, which every item passes.
    pub fn is_empty(&self) -> bool {
        self.plan.is_none()
    }

    /// The text this filter was made from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.source).finish()
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
