//! Authorisation: may this caller do that? Today everybody may do everything, because ACLs are off.
//!
//! Every read and write passes here with its caller before anything else happens, and every reply passes
//! `filter_reply` before it leaves, so that ACLs can be added without touching an endpoint.

use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::prepared::PreparedQuery;
use tribune_types::query::Query;
use tribune_types::write::Write;

/// Decides for one agent.
#[derive(Debug, Clone, Default)]
pub struct Authorizer {}

impl Authorizer {
    /// The decision-maker of an agent without ACLs. Configurations that ask for ACLs are refused at start.
    pub fn allow_all() -> Authorizer {
        Authorizer {}
    }

    /// May the caller ask this at all? (Lists that are merely reduced are allowed here.)
    ///
    /// # Errors
    /// `PermissionDenied` or `AclNotFound`.
    pub fn read(&self, _caller: &Caller, _query: &Query) -> Result<(), RpcError> {
        Ok(())
    }

    /// May the caller do this?
    ///
    /// # Errors
    /// `PermissionDenied` or `AclNotFound`.
    pub fn write(&self, _caller: &Caller, _write: &Write) -> Result<(), RpcError> {
        Ok(())
    }

    /// May the caller carry out this prepared query, or see what it renders to?
    ///
    /// # Errors
    /// `PermissionDenied` or `AclNotFound`.
    pub fn execute(&self, _caller: &Caller, _query: &PreparedQuery) -> Result<(), RpcError> {
        Ok(())
    }

    /// May the caller save and restore snapshots and manage servers?
    ///
    /// # Errors
    /// `PermissionDenied` or `AclNotFound`.
    pub fn management(&self, _caller: &Caller) -> Result<(), RpcError> {
        Ok(())
    }

    /// May the caller act on this agent itself?
    ///
    /// # Errors
    /// `PermissionDenied` or `AclNotFound`.
    pub fn agent(&self, _caller: &Caller, _access: Access) -> Result<(), RpcError> {
        Ok(())
    }
}

/// Kind of access to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look.
    Read,
    /// Change.
    Write,
}
