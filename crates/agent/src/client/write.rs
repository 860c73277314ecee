//! Writes of a client agent.

use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::write::{Write, WriteReply};
use tribune_wire::rpc;

use super::{CALL_TIMEOUT, Client, Kind, datacenter, unreadable};

impl Client {
    /// Asks a server to make a change. A dropped write may still happen.
    ///
    /// # Errors
    /// There is no server, or what the server says. A connection that ended leaves open whether the change was made, and
    /// the text says `EOF` or how else it ended.
    pub(crate) async fn write(
        &self,
        caller: &Caller,
        dc: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        let dc = datacenter(&self.datacenter, dc);
        let (method, body) =
            rpc::encode_write(&write, dc, caller.token.secret()).ok_or_else(|| {
                RpcError::Invalid("this change cannot be sent to a server".to_owned())
            })?;
        let kind = match write {
            // These travel as reads.
            Write::SessionRenew(_) | Write::TxnRead(..) => Kind::Read,
            _ => Kind::Write,
        };
        let bytes = self.call(kind, method, &body, CALL_TIMEOUT).await?;
        rpc::decode_write_reply(&write, &bytes).map_err(|err| unreadable(&err))
    }
}
