//! Figures of this process that dashboards expect: memory and tasks.

use metrics::gauge;

/// Measures the process.
#[derive(Debug, Default)]
pub(super) struct Process {}

impl Process {
    /// Sets the gauges. Reads one small file of `/proc`; where there is none, nothing is set.
    pub(super) fn measure(&mut self) {
        if let Some((total, resident)) = memory_pages() {
            let page = rustix::param::page_size() as f64;
            gauge!("runtime.alloc_bytes").set(resident * page);
            gauge!("runtime.sys_bytes").set(total * page);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            gauge!("runtime.num_goroutines").set(runtime.metrics().num_alive_tasks() as f64);
        }
    }
}

/// Pages of the address space and of resident memory.
fn memory_pages() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split_ascii_whitespace();
    let total = fields.next()?.parse().ok()?;
    let resident = fields.next()?.parse().ok()?;
    Some((total, resident))
}
