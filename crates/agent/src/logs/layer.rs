//! The end of tracing: events become records, spans lend their fields.
//!
//! What nobody wants is refused when tracing first meets the call site, and again by [`super::level::Gate`]; so a disabled
//! event costs a comparison. Rendering happens here, on the thread that logs; writing does not.

use std::sync::Arc;

use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Pipeline;
use super::level::{is_own, of_event};
use super::module;
use super::record::{Fields, Record};

/// Hands events to a pipeline.
pub(super) struct LogLayer {
    pub(super) pipeline: Arc<Pipeline>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        if self.pipeline.gate.wants(meta) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, meta: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.pipeline.gate.wants(meta)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.pipeline.gate.filter())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let meta = event.metadata();
        if !self.pipeline.gate.wants(meta) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        let record = Record {
            wall: self.pipeline.env.wall(),
            level: of_event(meta),
            module: module::name(meta.target()),
            fields,
        };
        self.pipeline.emit(&record, is_own(meta.target()));
    }
}
