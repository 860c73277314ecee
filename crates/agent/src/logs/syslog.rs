//! Lines to the system's log over its datagram socket.
//!
//! A packet is `<priority>tag[pid]: line`, without a time: receivers stamp it themselves in their time zone (RFC 3164
//! section 4.3.2 lets them). ERROR is err, WARN warning, INFO notice, DEBUG info, TRACE debug.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use tribune_config::config::LogLevel;

/// Facilities in the order of their numbers; the empty ones have no name.
const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "", "", "", "", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6",
    "LOCAL7",
];

/// How long one packet may wait for the receiver before it is lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where system log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogOptions {
    /// Name of the facility in any letter case, `LOCAL0` for instance.
    pub facility: String,
    /// Name of the program in every line.
    pub tag: String,
    /// The socket, `/dev/log`.
    pub socket: PathBuf,
}

/// The connection. Made anew when the receiver was restarted.
#[derive(Debug)]
pub(super) struct Syslog {
    facility: usize,
    head: String,
    path: PathBuf,
    socket: UnixDatagram,
}

/// Number of a facility.
pub(super) fn facility(name: &str) -> Option<usize> {
    FACILITIES
        .iter()
        .position(|known| !known.is_empty() && known.eq_ignore_ascii_case(name))
}

impl Syslog {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(super) fn open(options: &SyslogOptions, facility: usize) -> io::Result<Syslog> {
        let head = format!("{}[{}]: ", options.tag, std::process::id());
        Ok(Syslog {
            facility,
            head,
            socket: connect(&options.socket)?,
            path: options.socket.clone(),
        })
    }

    /// Sends a line.
    ///
    /// # Errors
    /// It was not taken, even after a new connection.
    pub(super) fn write(&mut self, level: LogLevel, line: &[u8]) -> io::Result<()> {
        let severity = match level {
            LogLevel::Trace => 7,
            LogLevel::Debug => 6,
            LogLevel::Info => 5,
            LogLevel::Warn => 4,
            LogLevel::Error => 3,
        };
        let mut packet = format!("<{}>{}", self.facility * 8 + severity, self.head).into_bytes();
        packet.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        match self.socket.send(&packet) {
            Ok(_) => Ok(()),
            Err(err)
                if matches!(
                    err.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::NotConnected
                        | io::ErrorKind::ConnectionReset
                ) =>
            {
                self.socket = connect(&self.path)?;
                self.socket.send(&packet).map(drop)
            }
            Err(err) => Err(err),
        }
    }
}

fn connect(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let size = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..size].to_vec()).unwrap()
    }

    #[test]
    fn packets_carry_priority_tag_and_line_and_survive_a_new_receiver() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("log");
        let options = SyslogOptions {
            facility: "local3".to_owned(),
            tag: "consul".to_owned(),
            socket: socket.clone(),
        };
        let number = facility(&options.facility).unwrap();
        assert!(Syslog::open(&options, number).is_err());
        let receiver = UnixDatagram::bind(&socket).unwrap();
        let mut syslog = Syslog::open(&options, number).unwrap();
        syslog.write(LogLevel::Info, b"hello\n").unwrap();
        let pid = std::process::id();
        assert_eq!(receive(&receiver), format!("<157>consul[{pid}]: hello"));
        drop(receiver);
        std::fs::remove_file(&socket).unwrap();
        assert!(syslog.write(LogLevel::Error, b"lost\n").is_err());
        let receiver = UnixDatagram::bind(&socket).unwrap();
        syslog.write(LogLevel::Error, b"again\n").unwrap();
        assert_eq!(receive(&receiver), format!("<155>consul[{pid}]: again"));
    }

    #[test]
    fn facilities_have_names_and_numbers() {
        assert_eq!(facility("LOCAL0"), Some(16));
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility(""), None);
        assert_eq!(facility("LOCAL8"), None);
    }
}
