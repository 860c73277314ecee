//! Facts about the machine for `/v1/agent/host`: memory, processors, system, disk.
//!
//! Read from `/proc`, `/sys`, `/etc` and the kernel on every call (about a millisecond); the document has the names and
//! units of 1.8.7: bytes, per cent, seconds, nanoseconds for the time of collection. What this machine does not tell reads
//! zero or empty; a whole section that cannot be read is null and named in `Errors`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tribune_rt::Env;
use tribune_types::text::text;
use tribune_types::value::{Value, ValueMap};

/// The file system that is looked at.
const DISK: &str = "/";

/// The document.
pub(crate) fn host(env: &Env) -> Value {
    let mut errors = Vec::new();
    let mut section = |name: &str, facts: Result<Value, String>| {
        facts.unwrap_or_else(|err| {
            errors.push(string(&format!("{name}: {err}")));
            Value::Null
        })
    };
    let memory = section(
        "memory",
        read("/proc/meminfo").map(|meminfo| memory(&meminfo)),
    );
    let cpuinfo = read("/proc/cpuinfo");
    let guest = cpuinfo.as_deref().is_ok_and(is_guest);
    let processors = section(
        "cpu",
        cpuinfo.map(|cpuinfo| Value::List(processors(&cpuinfo))),
    );
    let system = section("host", system(env, guest));
    let disk = section("disk", disk());
    object([
        ("Memory", memory),
        ("CPU", processors),
        ("Host", system),
        ("Disk", disk),
        ("CollectionTime", Value::UInt(env.wall().0)),
        (
            "Errors",
            if errors.is_empty() {
                Value::Null
            } else {
                Value::List(errors)
            },
        ),
    ])
}

fn read(path: &str) -> Result<String, String> {
    // These files are not always UTF-8 and never worth failing for that.
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|err| format!("{path}: {err}"))
}

/// Content of a small file without surrounding white space; empty if there is none.
fn peek(path: &str) -> String {
    read(path).unwrap_or_default().trim().to_owned()
}

fn string(s: &str) -> Value {
    Value::String(text(s))
}

fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect(),
    )
}

fn percent(part: u64, whole: u64) -> Value {
    Value::Float(if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64 * 100.0
    })
}

/// Names of the document beside those of `/proc/meminfo`, all in bytes.
const MEMORY: [(&str, &str); 28] = [
    ("total", "MemTotal"),
    ("available", "MemAvailable"),
    ("free", "MemFree"),
    ("active", "Active"),
    ("inactive", "Inactive"),
    ("buffers", "Buffers"),
    ("writeback", "Writeback"),
    ("dirty", "Dirty"),
    ("writebacktmp", "WritebackTmp"),
    ("shared", "Shmem"),
    ("slab", "Slab"),
    ("sreclaimable", "SReclaimable"),
    ("sunreclaim", "SUnreclaim"),
    ("pagetables", "PageTables"),
    ("swapcached", "SwapCached"),
    ("commitlimit", "CommitLimit"),
    ("committedas", "Committed_AS"),
    ("hightotal", "HighTotal"),
    ("highfree", "HighFree"),
    ("lowtotal", "LowTotal"),
    ("lowfree", "LowFree"),
    ("swaptotal", "SwapTotal"),
    ("swapfree", "SwapFree"),
    ("mapped", "Mapped"),
    ("vmalloctotal", "VmallocTotal"),
    ("vmallocused", "VmallocUsed"),
    ("vmallocchunk", "VmallocChunk"),
    ("hugepagesize", "Hugepagesize"),
];

fn memory(meminfo: &str) -> Value {
    let figures: BTreeMap<&str, u64> = meminfo
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let mut words = rest.split_ascii_whitespace();
            let number: u64 = words.next()?.parse().ok()?;
            let unit = if words.next() == Some("kB") { 1024 } else { 1 };
            Some((name, number.saturating_mul(unit)))
        })
        .collect();
    let get = |name: &str| figures.get(name).copied().unwrap_or(0);
    let cached = get("Cached").saturating_add(get("SReclaimable"));
    let total = get("MemTotal");
    let used = [get("MemFree"), get("Buffers"), cached]
        .into_iter()
        .fold(total, u64::saturating_sub);
    let mut out: ValueMap = MEMORY
        .iter()
        .map(|(name, source)| (text(name), Value::UInt(get(source))))
        .collect();
    for (name, value) in [
        ("cached", Value::UInt(cached)),
        ("used", Value::UInt(used)),
        ("usedPercent", percent(used, total)),
        ("hugepagestotal", Value::UInt(get("HugePages_Total"))),
        ("hugepagesfree", Value::UInt(get("HugePages_Free"))),
        // Words of other systems.
        ("wired", Value::UInt(0)),
        ("laundry", Value::UInt(0)),
    ] {
        out.insert(text(name), value);
    }
    Value::Map(out)
}

/// Key and value of the lines of one processor.
fn cpu_fields(block: &str) -> BTreeMap<&str, &str> {
    block
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect()
}

fn is_guest(cpuinfo: &str) -> bool {
    cpuinfo.split("\n\n").any(|block| {
        let fields = cpu_fields(block);
        fields
            .get("flags")
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
    })
}

fn processors(cpuinfo: &str) -> Vec<Value> {
    let blocks = cpuinfo
        .split("\n\n")
        .map(cpu_fields)
        .filter(|fields| fields.contains_key("processor"));
    blocks
        .map(|fields| {
            let get = |name: &str| fields.get(name).copied().unwrap_or("");
            // ARM has words of its own.
            let either = |name: &str, other: &str| {
                if get(name).is_empty() {
                    get(other)
                } else {
                    get(name)
                }
            };
            let number = |s: &str| {
                s.split_ascii_whitespace()
                    .next()
                    .and_then(|s| s.parse::<i64>().ok())
                    .unwrap_or(0)
            };
            let id = number(get("processor"));
            let limit = peek(&format!(
                "/sys/devices/system/cpu/cpu{id}/cpufreq/cpuinfo_max_freq"
            ));
            let mhz = limit
                .parse::<f64>()
                .map(|khz| khz / 1000.0)
                .or_else(|_| get("cpu MHz").parse())
                .unwrap_or(0.0);
            let flags = either("flags", "Features")
                .split_ascii_whitespace()
                .map(string)
                .collect();
            object([
                ("cpu", Value::Int(id)),
                ("vendorId", string(either("vendor_id", "CPU implementer"))),
                ("family", string(either("cpu family", "CPU architecture"))),
                ("model", string(either("model", "CPU part"))),
                (
                    "stepping",
                    Value::Int(number(either("stepping", "CPU revision"))),
                ),
                ("physicalId", string(get("physical id"))),
                ("coreId", string(get("core id"))),
                ("cores", Value::Int(1)),
                ("modelName", string(get("model name"))),
                ("mhz", Value::Float(mhz)),
                ("cacheSize", Value::Int(number(get("cache size")))),
                ("flags", Value::List(flags)),
                ("microcode", string(get("microcode"))),
            ])
        })
        .collect()
}

fn system(env: &Env, guest: bool) -> Result<Value, String> {
    let stat = read("/proc/stat")?;
    let boot = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let uptime = peek("/proc/uptime")
        .split('.')
        .next()
        .and_then(|secs| secs.parse::<u64>().ok());
    let uptime = uptime.unwrap_or_else(|| env.wall().unix_secs().saturating_sub(boot));
    let numbered = |entry: &fs::DirEntry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
    };
    let processes = fs::read_dir("/proc").map_or(0, |all| all.flatten().filter(numbered).count());
    let name = rustix::system::uname();
    let (platform, family, version) =
        platform(&peek("/etc/os-release"), &peek("/etc/debian_version"));
    let container = if Path::new("/.dockerenv").exists() {
        "docker"
    } else {
        ""
    };
    let role = if guest || !container.is_empty() {
        "guest"
    } else {
        ""
    };
    Ok(object([
        ("hostname", string(&name.nodename().to_string_lossy())),
        ("uptime", Value::UInt(uptime)),
        ("bootTime", Value::UInt(boot)),
        ("procs", Value::UInt(processes as u64)),
        ("os", string("linux")),
        ("platform", string(&platform)),
        ("platformFamily", string(&family)),
        ("platformVersion", string(&version)),
        ("kernelVersion", string(&name.release().to_string_lossy())),
        ("kernelArch", string(&name.machine().to_string_lossy())),
        ("virtualizationSystem", string(container)),
        ("virtualizationRole", string(role)),
        ("hostid", string(&host_id())),
    ]))
}

/// Name, family and version of the distribution.
fn platform(os_release: &str, debian_version: &str) -> (String, String, String) {
    let get = |name: &str| {
        let found = os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or("").trim_matches(['"', '\'']).to_owned()
    };
    let (platform, version) = (get("ID"), get("VERSION_ID"));
    let family = match platform.as_str() {
        "debian" | "ubuntu" | "linuxmint" | "raspbian" => "debian",
        "rhel" | "centos" | "rocky" | "almalinux" | "ol" | "oracle" | "amzn" | "scientific" => {
            "rhel"
        }
        "fedora" => "fedora",
        "sles" | "suse" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" => "suse",
        "arch" | "manjaro" => "arch",
        "alpine" => "alpine",
        "gentoo" => "gentoo",
        _ => "",
    };
    // Debian's own file names the point release.
    let version = if platform == "debian" && !debian_version.is_empty() {
        debian_version.to_owned()
    } else {
        version
    };
    (platform, family.to_owned(), version)
}

/// Identity of the machine: its firmware's, its installation's or that of this boot, as a UUID in lower case.
fn host_id() -> String {
    let firmware = peek("/sys/class/dmi/id/product_uuid").to_ascii_lowercase();
    if firmware.len() == 36 {
        return firmware;
    }
    let installation = peek("/etc/machine-id");
    if installation.len() == 32 && installation.bytes().all(|b| b.is_ascii_hexdigit()) {
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32]
            .map(|range| installation[range].to_ascii_lowercase());
        return parts.join("-");
    }
    peek("/proc/sys/kernel/random/boot_id").to_ascii_lowercase()
}

fn disk() -> Result<Value, String> {
    let space = rustix::fs::statvfs(DISK).map_err(|err| format!("{DISK}: {err}"))?;
    let kind = rustix::fs::statfs(DISK).map_or("", |fs| file_system(fs.f_type as u64));
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    let (total, free) = (bytes(space.f_blocks), bytes(space.f_bavail));
    let used = bytes(space.f_blocks.saturating_sub(space.f_bfree));
    let inodes_used = space.f_files.saturating_sub(space.f_ffree);
    Ok(object([
        ("path", string(DISK)),
        ("fstype", string(kind)),
        ("total", Value::UInt(total)),
        ("free", Value::UInt(free)),
        ("used", Value::UInt(used)),
        // Of what users may have: blocks kept for root do not count.
        ("usedPercent", percent(used, used.saturating_add(free))),
        ("inodesTotal", Value::UInt(space.f_files)),
        ("inodesUsed", Value::UInt(inodes_used)),
        ("inodesFree", Value::UInt(space.f_ffree)),
        ("inodesUsedPercent", percent(inodes_used, space.f_files)),
    ]))
}

/// Names of common file systems by their magic numbers (linux/magic.h).
fn file_system(magic: u64) -> &'static str {
    match magic {
        0xEF53 => "ext2/ext3",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlayfs",
        0x6969 => "nfs",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: &Value) -> &ValueMap {
        match value {
            Value::Map(map) => map,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_document_has_the_keys_of_the_real_agent() {
        let real: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/consul-1.8.7-self/host.json"))
                .unwrap();
        let document = host(&Env::ambient().unwrap());
        let mut json = Vec::new();
        tribune_api::render::value(&mut json, &document);
        let ours: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let keys = |v: &serde_json::Value| {
            v.as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(keys(&ours), keys(&real));
        assert_eq!(ours["Errors"], serde_json::Value::Null);
        for part in ["Memory", "Host", "Disk"] {
            assert_eq!(keys(&ours[part]), keys(&real[part]), "{part}");
            for (name, value) in real[part].as_object().unwrap() {
                let same = ours[part][name].is_string() == value.is_string();
                assert!(same, "{part}.{name}: {}", ours[part][name]);
            }
        }
        assert_eq!(keys(&ours["CPU"][0]), keys(&real["CPU"][0]));
        assert!(ours["Memory"]["total"].as_u64().unwrap() > 0);
    }

    #[test]
    fn used_memory_leaves_out_what_can_be_had_back() {
        let value = memory(
            "MemTotal: 100 kB\nMemFree: 40 kB\nBuffers: 5 kB\nCached: 10 kB\nSReclaimable: 5 kB\nHugePages_Total: 3\nodd line\n",
        );
        let map = map(&value);
        assert_eq!(map["used"], Value::UInt(40 * 1024));
        assert_eq!(map["usedPercent"], Value::Float(40.0));
        assert_eq!(map["cached"], Value::UInt(15 * 1024));
        assert_eq!(map["hugepagestotal"], Value::UInt(3));
    }

    #[test]
    fn processors_are_read_with_their_flags() {
        let text = "processor\t: 0\nvendor_id\t: X\ncpu family\t: 26\nstepping\t: 1\ncpu MHz\t: 12.5\ncache size\t: 1024 KB\nflags\t: a hypervisor\n\nprocessor\t: 9999\nFeatures : fp\n\nHardware : y\n";
        assert!(is_guest(text));
        let all = processors(text);
        assert_eq!(all.len(), 2);
        assert_eq!(map(&all[0])["cacheSize"], Value::Int(1024));
        assert_eq!(map(&all[0])["family"], string("26"));
        assert_eq!(map(&all[1])["flags"], Value::List(vec![string("fp")]));
    }

    #[test]
    fn distributions_have_families() {
        // (os-release, debian_version, platform, family, version)
        for (release, debian, platform_, family, version) in [
            (
                "ID=debian\nVERSION_ID=\"12\"",
                "12.11",
                "debian",
                "debian",
                "12.11",
            ),
            (
                "ID=ubuntu\nVERSION_ID=\"22.04\"",
                "bookworm/sid",
                "ubuntu",
                "debian",
                "22.04",
            ),
            (
                "ID=\"rocky\"\nVERSION_ID=\"9.3\"",
                "",
                "rocky",
                "rhel",
                "9.3",
            ),
            ("", "", "", "", ""),
        ] {
            assert_eq!(
                platform(release, debian),
                (platform_.to_owned(), family.to_owned(), version.to_owned())
            );
        }
    }
}
