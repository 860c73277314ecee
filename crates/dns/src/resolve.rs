//! The core: from a request and what is known to an answer, or to what must be looked up first.
//!
//! [`resolve`] is a pure function of the request, the settings, the [`Facts`] gathered so far, the time and a seed. When
//! a fact is missing it returns the [`Lookup`]; the driver finds it out, adds it, and calls again with the same seed.
//! The usual question needs one fact, which the driver has at hand without waiting. Rules: spec dns.md 1, 3, 4 and 6.
//!
//! Names of this zone inside answers (an instance whose address is `web.service.consul`) are resolved here, at most
//! three deep; other names are a [`Lookup::Host`] for the recursors.

use std::net::IpAddr;
use std::sync::Arc;

use tribune_types::catalog::{CONSUL_SERVICE, Node};
use tribune_types::query::{Endpoint, Reply, ReverseMatch};
use tribune_types::text::{Text, text};

use crate::instances::{
    Accept, Addr, Candidate, Pools, ServiceView, node_address, node_name, node_texts, service_name,
};
use crate::message::Request;
use crate::name::{Asked, Labels, Zone, asked, reverse_address, zone_of};
use crate::options::Settings;
use crate::pick::{Picker, Rng};
use crate::records::{Response, address_record, is_host_label};
use crate::shape::{self, Limits, Transport};
use crate::wire::{Data, Name, Owner, Record, is_name, rcode, rtype};
use crate::write::{self, Compression};

/// How many names of this zone are followed from one question.
const NAMES_DEEP_MAX: u8 = 3;
/// Most records taken from a recursor for an instance's host name, unless the client speaks EDNS.
const HOST_RECORDS_MAX: usize = 5;
/// Most name servers in an answer.
const NAME_SERVERS_MAX: usize = 3;

/// Something to find out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Lookup {
    /// Instances with their checks.
    Service {
        name: Text,
        tag: Option<Text>,
        endpoint: Endpoint,
        dc: Option<Text>,
    },
    /// A node.
    Node { name: Text, dc: Option<Text> },
    /// What a prepared query finds for a client.
    Query {
        name: Text,
        dc: Option<Text>,
        client: IpAddr,
    },
    /// What has an address.
    Reverse(IpAddr),
    /// The address records of a name elsewhere.
    Host(Name),
}

impl Lookup {
    /// True if another datacenter than `own` is asked.
    pub(crate) fn is_abroad(&self, own: &str) -> bool {
        match self {
            Lookup::Service { dc, .. } | Lookup::Node { dc, .. } => {
                dc.as_ref().is_some_and(|dc| &**dc != own)
            }
            // Whether it is carried out elsewhere, nobody knows before.
            Lookup::Query { .. } => true,
            _ => false,
        }
    }
}

/// What was found out.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// An answer of the catalog.
    Catalog(Arc<tribune_agent::Shared>),
    /// What a prepared query found.
    Executed(Arc<Executed>),
    /// The datacenter is unknown, or the prepared query.
    NoPath,
    /// It could not be found out.
    Failed,
    /// Records of a name elsewhere; empty if it has none or nobody knows.
    Host(Arc<[Record]>),
}

/// What a prepared query found.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The instances, in the order to be tried.
    pub(crate) view: ServiceView,
    /// Service that was looked for.
    pub(crate) service: Text,
    /// What the query says.
    pub(crate) ttl: Option<u32>,
}

/// The facts of one question.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(Lookup, Fact)>);

impl Facts {
    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds what was found out.
    pub(crate) fn add(&mut self, lookup: Lookup, fact: Fact) {
        self.0.push((lookup, fact));
    }

    fn get(&self, lookup: &Lookup) -> Option<&Fact> {
        self.0
            .iter()
            .find(|(known, _)| known == lookup)
            .map(|(_, fact)| fact)
    }
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The answer was appended to the output.
    Answered,
    /// Find this out and call again.
    Need(Lookup),
    /// Pass the request to the recursors; [`fail_recursion`] if none answers.
    Forward,
}

/// Reused memory. One per driver task.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    response: Response,
    picker: Picker,
    shape: shape::Scratch,
}

/// What a request is answered from.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) facts: &'a Facts,
    pub(crate) transport: Transport,
    /// Whoever asks, or for whom a resolver asks that says so.
    pub(crate) client: IpAddr,
    pub(crate) now_unix: u32,
    pub(crate) seed: u64,
}

/// Answers `request` from what is known.
pub(crate) fn resolve(
    request: &Request,
    context: &Context<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Step {
    let settings = context.settings;
    let mut response = std::mem::take(&mut scratch.response);
    response.reset(settings.recursion());
    let mut resolver = Resolver {
        context,
        rng: Rng::new(context.seed),
        picker: &mut scratch.picker,
        shape: &mut scratch.shape,
    };
    let question = Question {
        wire: request.name.wire(),
        qtype: request.qtype,
        owner: Owner::Question,
        limits: Limits::new(
            context.transport,
            request.edns.map(|edns| edns.size),
            settings.options.udp_answer_limit,
        ),
        edns: request.edns.is_some(),
    };
    let step = match zone_of(question.wire, settings) {
        Zone::Own { .. } => resolver
            .zone(&question, &mut response)
            .map(|()| Step::Answered),
        Zone::Reverse => resolver.reverse(&question, &mut response),
        Zone::Outside if settings.recursion() => Ok(Step::Forward),
        Zone::Outside => {
            response.fail(rcode::REFUSED);
            response.edns = false;
            Ok(Step::Answered)
        }
    };
    if let Ok(Step::Answered) = step {
        write::write(
            request,
            &response,
            compression(settings),
            &mut scratch.shape.table,
            out,
        );
    }
    scratch.response = response;
    step.unwrap_or_else(Step::Need)
}

/// The answer when no recursor had one.
pub(crate) fn fail_recursion(request: &Request, scratch: &mut Scratch, out: &mut Vec<u8>) {
    scratch.response.reset(true);
    scratch.response.fail(rcode::SERVFAIL);
    write::write(
        request,
        &scratch.response,
        Compression::On,
        &mut scratch.shape.table,
        out,
    );
}

fn compression(settings: &Settings) -> Compression {
    if settings.options.disable_compression {
        Compression::Off
    } else {
        Compression::On
    }
}

/// A question of the client, or one that arose on the way.
struct Question<'a> {
    wire: &'a [u8],
    qtype: u16,
    /// Owner of the records that answer it.
    owner: Owner,
    limits: Limits,
    /// Whoever asks speaks EDNS.
    edns: bool,
}

struct Resolver<'a> {
    context: &'a Context<'a>,
    rng: Rng,
    picker: &'a mut Picker,
    shape: &'a mut shape::Scratch,
}

impl Resolver<'_> {
    fn settings(&self) -> &Settings {
        self.context.settings
    }

    fn fact(&self, lookup: Lookup) -> Result<&Fact, Lookup> {
        self.context.facts.get(&lookup).ok_or(lookup)
    }

    /// A question of the client in the own zone.
    fn zone(&mut self, question: &Question<'_>, response: &mut Response) -> Result<(), Lookup> {
        let domain = Owner::Name(self.settings().domain.clone());
        match question.qtype {
            rtype::SOA => {
                response.answer.push(self.soa());
                let mut authority = Vec::new();
                self.name_servers(&domain, &mut authority, &mut response.additional)?;
                response.authority = authority;
            }
            rtype::NS => {
                let mut answer = Vec::new();
                self.name_servers(&domain, &mut answer, &mut response.additional)?;
                response.answer = answer;
            }
            rtype::AXFR => response.rcode = rcode::NOTIMP,
            _ => self.dispatch(question, NAMES_DEEP_MAX, response)?,
        }
        Ok(())
    }

    /// Answers by name. `deep` says how many more names of this zone may be followed.
    fn dispatch(
        &mut self,
        question: &Question<'_>,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let Zone::Own { prefix } = zone_of(question.wire, self.settings()) else {
            return Ok(());
        };
        let labels = Labels::new(question.wire, prefix);
        match asked(&labels, question.qtype, self.settings()) {
            Asked::Service {
                name,
                tag,
                endpoint,
                dc,
            } => self.service(
                question,
                Lookup::Service {
                    name,
                    tag,
                    endpoint,
                    dc,
                },
                deep,
                response,
            ),
            Asked::Node { name, dc } => {
                self.node(question, Lookup::Node { name, dc }, deep, response)
            }
            Asked::Addr(address) => {
                let data = match address {
                    IpAddr::V4(v4) => Data::A(v4.octets()),
                    IpAddr::V6(v6) => Data::Aaaa(v6.octets()),
                };
                let ttl = self.settings().node_ttl;
                let owner = self.canonical_owner(question, &question.wire[..prefix]);
                response.answer.push(Record { owner, ttl, data });
                Ok(())
            }
            Asked::Nothing => Ok(()),
            Asked::Query { name, dc } => self.query(question, name, dc, deep, response),
            Asked::Invalid => {
                self.no_such_name(response);
                Ok(())
            }
        }
    }

    /// The name of the question in lower case and in the main zone: how addresses own their record in Consul.
    fn canonical_owner(&self, question: &Question<'_>, prefix: &[u8]) -> Owner {
        let mut wire = prefix.to_ascii_lowercase();
        wire.extend_from_slice(self.settings().domain.wire());
        if wire == question.wire || !is_name(&wire) {
            question.owner.clone()
        } else {
            Owner::Name(Name::from_wire(&wire))
        }
    }

    fn no_such_name(&self, response: &mut Response) {
        response.rcode = rcode::NXDOMAIN;
        response.authority.push(self.soa());
    }

    fn soa(&self) -> Record {
        let settings = self.settings();
        Record {
            owner: Owner::Name(settings.domain.clone()),
            ttl: settings.soa_ttl(),
            data: Data::Soa(settings.soa(self.context.now_unix)),
        }
    }

    fn service(
        &mut self,
        question: &Question<'_>,
        lookup: Lookup,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let settings = self.context.settings;
        let (name, dc) = match &lookup {
            Lookup::Service { name, dc, .. } => (name.clone(), dc.clone()),
            _ => return Ok(()),
        };
        let dc = dc.unwrap_or_else(|| settings.options.datacenter.clone());
        let Some(view) = self.service_view(lookup, &dc, response)? else {
            return Ok(());
        };
        let pools = view.pools(settings.options.only_passing);
        if pools.count == 0 {
            self.no_such_name(response);
            return Ok(());
        }
        let ttl = settings.service_ttl(&name);
        self.instances(question, &view, pools, ttl, deep, response)
    }

    /// What a prepared query finds. The answer is for this client alone.
    fn query(
        &mut self,
        question: &Question<'_>,
        name: Text,
        dc: Option<Text>,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        response.for_subnet = true;
        let client = self.context.client;
        match self.fact(Lookup::Query { name, dc, client })? {
            Fact::Executed(found) if !found.view.candidates.is_empty() => {
                let found = Arc::clone(found);
                let ttl = found.ttl;
                let ttl = ttl.unwrap_or_else(|| self.settings().service_ttl(&found.service));
                let pools = found.view.pools(false);
                self.instances(question, &found.view, pools, ttl, deep, response)
            }
            Fact::Executed(_) | Fact::NoPath => {
                self.no_such_name(response);
                Ok(())
            }
            Fact::Catalog(_) | Fact::Failed | Fact::Host(_) => {
                response.fail_in_zone();
                Ok(())
            }
        }
    }

    /// Records of instances, cut to the client's size.
    fn instances(
        &mut self,
        question: &Question<'_>,
        view: &ServiceView,
        pools: &Pools,
        ttl: u32,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let settings = self.context.settings;
        match question.qtype {
            rtype::SRV => self.service_targets(question, view, pools, ttl, deep, response)?,
            rtype::A => {
                self.service_addresses(question, view, pools, Accept::V4, ttl, deep, response)?
            }
            rtype::AAAA => {
                self.service_addresses(question, view, pools, Accept::V6, ttl, deep, response)?
            }
            rtype::ANY | rtype::TXT => {
                self.service_addresses(question, view, pools, Accept::Any, ttl, deep, response)?
            }
            // No addresses, but an alias stands for every type.
            _ => self.service_alias(question, view, pools, Accept::Any, ttl, deep, response)?,
        }
        let trimmed = shape::trim(
            response,
            question.wire,
            question.qtype,
            question.limits,
            compression(settings),
            self.shape,
        );
        if trimmed && settings.options.enable_truncate {
            response.truncated = true;
        }
        if response.answer.is_empty() && !response.truncated {
            response.authority.push(self.soa());
        }
        Ok(())
    }

    /// The instances, or `None` after the response was set to why there are none.
    fn service_view(
        &self,
        lookup: Lookup,
        dc: &str,
        response: &mut Response,
    ) -> Result<Option<Arc<ServiceView>>, Lookup> {
        match self.fact(lookup)? {
            Fact::Catalog(shared) => {
                let derive = |reply: &Reply| ServiceView::new(reply, dc, self.context.settings);
                let view = shared.derived(derive);
                Ok(Some(if view.fits(self.context.settings) {
                    view
                } else {
                    Arc::new(derive(shared.reply()))
                }))
            }
            Fact::NoPath => {
                self.no_such_name(response);
                Ok(None)
            }
            Fact::Failed | Fact::Host(_) | Fact::Executed(_) => {
                response.fail_in_zone();
                Ok(None)
            }
        }
    }

    /// A, AAAA and the questions answered like them.
    #[expect(clippy::too_many_arguments, reason = "one straight step of `service`")]
    fn service_addresses(
        &mut self,
        question: &Question<'_>,
        view: &ServiceView,
        pools: &Pools,
        accept: Accept,
        ttl: u32,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let limit = self.context.settings.options.a_record_limit;
        let needed = question.limits.answers_needed(question.qtype);
        let wanted = if limit == 0 {
            needed
        } else {
            needed.min(limit)
        };
        let kind = accept as usize;
        let answer = &mut response.answer;
        self.picker.each_distinct(
            pools.addresses(accept),
            view.order,
            &mut self.rng,
            |index| {
                if let Some(Some(address)) = view
                    .candidates
                    .get(index as usize)
                    .map(|candidate| &candidate.addresses[kind])
                {
                    answer.extend(address_record(
                        question.owner.clone(),
                        ttl,
                        address,
                        question.qtype,
                    ));
                }
                answer.len() < wanted
            },
        );
        if response.answer.is_empty() {
            self.service_alias(question, view, pools, accept, ttl, deep, response)
        } else {
            Ok(())
        }
    }

    /// One instance with a host name, if there is any: a CNAME can stand only once at a name.
    #[expect(clippy::too_many_arguments, reason = "one straight step of `service`")]
    fn service_alias(
        &mut self,
        question: &Question<'_>,
        view: &ServiceView,
        pools: &Pools,
        accept: Accept,
        ttl: u32,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let kind = accept as usize;
        let Some(index) = Picker::one(&pools.hosts[kind], view.order, &mut self.rng) else {
            return Ok(());
        };
        let Some(candidate) = view.candidates.get(index as usize) else {
            return Ok(());
        };
        let Some(Addr::Host(host)) = &candidate.addresses[kind] else {
            return Ok(());
        };
        match self.own_address_instead(question, host, candidate, accept) {
            Some(address @ (Addr::V4(_) | Addr::V6(_))) => {
                if matches!(
                    question.qtype,
                    rtype::A | rtype::AAAA | rtype::ANY | rtype::TXT
                ) {
                    response.answer.extend(address_record(
                        question.owner.clone(),
                        ttl,
                        &address,
                        question.qtype,
                    ));
                }
            }
            Some(Addr::Host(host)) => self.push_alias(question, &host, ttl, deep, response)?,
            None => self.push_alias(question, host, ttl, deep, response)?,
        }
        Ok(())
    }

    /// An instance whose host name is the very name asked for means its node.
    fn own_address_instead(
        &self,
        question: &Question<'_>,
        host: &Name,
        candidate: &Candidate,
        accept: Accept,
    ) -> Option<Addr> {
        if host.wire() == question.wire {
            node_address(&candidate.node, self.context.settings, accept)
        } else {
            None
        }
    }

    fn push_alias(
        &mut self,
        question: &Question<'_>,
        host: &Name,
        ttl: u32,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        response.answer.push(Record {
            owner: question.owner.clone(),
            ttl,
            data: Data::Cname(host.clone()),
        });
        let resolved = self.host_of_service(question, host, ttl, deep)?;
        response.answer.extend(resolved);
        Ok(())
    }

    fn service_targets(
        &mut self,
        question: &Question<'_>,
        view: &ServiceView,
        pools: &Pools,
        ttl: u32,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let wanted = question.limits.answers_needed(question.qtype);
        let mut picked = Vec::with_capacity(wanted.min(pools.srv.distinct as usize));
        self.picker
            .each_distinct(&pools.srv, view.order, &mut self.rng, |index| {
                picked.push(index);
                picked.len() < wanted
            });
        for index in picked {
            if let Some(candidate) = view.candidates.get(index as usize) {
                self.push_target(question, candidate, ttl, deep, response)?;
            }
        }
        Ok(())
    }

    fn push_target(
        &mut self,
        question: &Question<'_>,
        candidate: &Candidate,
        ttl: u32,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let (Some(target), Some(address)) = (
            &candidate.target,
            &candidate.addresses[Accept::Any as usize],
        ) else {
            return Ok(());
        };
        let mut target = target.clone();
        let mut address = address.clone();
        if let Addr::Host(host) = &address
            && let Some(own) = self.own_address_instead(question, host, candidate, Accept::Any)
        {
            match (&own, &candidate.node_name) {
                (Addr::Host(host), _) => target = host.clone(),
                (_, Some(node_name)) => target = node_name.clone(),
                (_, None) => return Ok(()),
            }
            address = own;
        }
        response.answer.push(Record {
            owner: question.owner.clone(),
            ttl,
            data: Data::Srv {
                weight: candidate.weight,
                port: candidate.port,
                target: target.clone(),
            },
        });
        match &address {
            Addr::Host(host) => {
                let resolved = self.host_of_service(question, host, ttl, deep)?;
                response.additional.extend(resolved);
            }
            number => response.additional.extend(address_record(
                Owner::Name(target),
                ttl,
                number,
                rtype::ANY,
            )),
        }
        if self.settings().options.node_meta_txt
            && let Some(node_name) = &candidate.node_name
        {
            let texts = node_texts(&candidate.node).into_iter();
            response.additional.extend(texts.map(|strings| Record {
                owner: Owner::Name(node_name.clone()),
                ttl,
                data: Data::Txt(strings),
            }));
        }
        Ok(())
    }

    /// Records of an instance's host name: addresses and aliases only, with the TTL of the service.
    fn host_of_service(
        &mut self,
        question: &Question<'_>,
        host: &Name,
        ttl: u32,
        deep: u8,
    ) -> Result<Vec<Record>, Lookup> {
        let count_max = if question.edns {
            usize::MAX
        } else {
            HOST_RECORDS_MAX
        };
        let mut records = self.host(host, deep)?;
        records.retain(|record| matches!(record.data, Data::A(_) | Data::Aaaa(_) | Data::Cname(_)));
        records.truncate(count_max);
        for record in &mut records {
            record.ttl = ttl;
        }
        Ok(records)
    }

    /// Records of a host name, in this zone or elsewhere.
    fn host(&mut self, host: &Name, deep: u8) -> Result<Vec<Record>, Lookup> {
        if !matches!(zone_of(host.wire(), self.settings()), Zone::Own { .. }) {
            if !self.settings().recursion() {
                return Ok(Vec::new());
            }
            return Ok(match self.fact(Lookup::Host(host.clone()))? {
                Fact::Host(records) => records.to_vec(),
                _ => Vec::new(),
            });
        }
        if deep == 0 {
            tracing::error!(name = %String::from_utf8_lossy(host.wire()), "names of services point too deep at one another");
            return Ok(Vec::new());
        }
        // As a question of any type over UDP, without EDNS.
        let question = Question {
            wire: host.wire(),
            qtype: rtype::ANY,
            owner: Owner::Name(host.clone()),
            limits: Limits::new(
                Transport::Udp,
                None,
                self.settings().options.udp_answer_limit,
            ),
            edns: false,
        };
        let mut response = Response::default();
        self.dispatch(&question, deep - 1, &mut response)?;
        Ok(response.answer)
    }

    fn node(
        &mut self,
        question: &Question<'_>,
        lookup: Lookup,
        deep: u8,
        response: &mut Response,
    ) -> Result<(), Lookup> {
        let accept = match question.qtype {
            rtype::A => Accept::V4,
            rtype::AAAA => Accept::V6,
            rtype::ANY | rtype::TXT => Accept::Any,
            // The name may exist or not: such records it has in no case.
            _ => return Ok(()),
        };
        let node = match self.fact(lookup)? {
            Fact::Catalog(shared) => match shared.reply() {
                Reply::NodeServices(Some((node, _))) => Arc::clone(node),
                _ => {
                    self.no_such_name(response);
                    return Ok(());
                }
            },
            Fact::NoPath => {
                self.no_such_name(response);
                return Ok(());
            }
            Fact::Failed | Fact::Host(_) | Fact::Executed(_) => {
                response.fail_in_zone();
                return Ok(());
            }
        };
        let ttl = self.settings().node_ttl;
        if question.qtype != rtype::TXT {
            match node_address(&node, self.settings(), accept) {
                Some(Addr::Host(host)) => {
                    response.answer.push(Record {
                        owner: question.owner.clone(),
                        ttl,
                        data: Data::Cname(host.clone()),
                    });
                    let resolved = self.host(&host, deep)?;
                    response.answer.extend(resolved);
                }
                Some(number) => response.answer.extend(address_record(
                    question.owner.clone(),
                    ttl,
                    &number,
                    question.qtype,
                )),
                None => {}
            }
        }
        self.push_node_texts(question, &node, ttl, response);
        Ok(())
    }

    fn push_node_texts(
        &self,
        question: &Question<'_>,
        node: &Node,
        ttl: u32,
        response: &mut Response,
    ) {
        let in_answer = matches!(question.qtype, rtype::TXT | rtype::ANY);
        if !in_answer && !self.settings().options.node_meta_txt {
            return;
        }
        let section = if in_answer {
            &mut response.answer
        } else {
            &mut response.additional
        };
        let records = node_texts(node).into_iter();
        section.extend(records.map(|strings| Record {
            owner: question.owner.clone(),
            ttl,
            data: Data::Txt(strings),
        }));
    }

    /// Up to three servers of this datacenter, and their addresses. None if they cannot be found out.
    fn name_servers(
        &mut self,
        owner: &Owner,
        servers: &mut Vec<Record>,
        glue: &mut Vec<Record>,
    ) -> Result<(), Lookup> {
        let settings = self.context.settings;
        let lookup = Lookup::Service {
            name: text(CONSUL_SERVICE),
            tag: None,
            endpoint: Endpoint::Service,
            dc: None,
        };
        let mut unused = Response::default();
        let Some(view) = self.service_view(lookup, &settings.options.datacenter, &mut unused)?
        else {
            return Ok(());
        };
        let ttl = settings.node_ttl;
        let mut names: Vec<Name> = Vec::new();
        self.picker.each_distinct(
            &view.pools(settings.options.only_passing).srv,
            view.order,
            &mut self.rng,
            |index| {
                let Some(candidate) = view.candidates.get(index as usize) else {
                    return true;
                };
                let Some(name) = candidate
                    .node_name
                    .as_ref()
                    .filter(|_| is_host_label(&candidate.node))
                else {
                    return true;
                };
                // Name servers are told in lower case, unlike SRV targets.
                let name = Name::from_wire(&name.wire().to_ascii_lowercase());
                if names.contains(&name) {
                    return true;
                }
                names.push(name.clone());
                servers.push(Record {
                    owner: owner.clone(),
                    ttl,
                    data: Data::Ns(name.clone()),
                });
                if let Some(address) = node_address(&candidate.node, settings, Accept::Any) {
                    glue.extend(address_record(Owner::Name(name), ttl, &address, rtype::ANY));
                }
                names.len() < NAME_SERVERS_MAX
            },
        );
        Ok(())
    }

    /// A name under `arpa.`.
    fn reverse(
        &mut self,
        question: &Question<'_>,
        response: &mut Response,
    ) -> Result<Step, Lookup> {
        let settings = self.context.settings;
        let found = match reverse_address(question.wire) {
            None => None,
            Some(address) => match self.fact(Lookup::Reverse(address))? {
                Fact::Catalog(shared) => match shared.reply() {
                    Reply::Reverse(Some(ReverseMatch::Node(node))) => {
                        let dc = if node.datacenter.is_empty() {
                            &settings.options.datacenter
                        } else {
                            &node.datacenter
                        };
                        node_name(&node.name, dc, settings)
                    }
                    Reply::Reverse(Some(ReverseMatch::Service(service))) => {
                        service_name(&service.name, &settings.options.datacenter, settings)
                    }
                    _ => None,
                },
                _ => None,
            },
        };
        match found {
            Some(name) => {
                response.answer.push(Record {
                    owner: question.owner.clone(),
                    ttl: 0,
                    data: Data::Ptr(name),
                });
                if question.qtype == rtype::SOA {
                    response.authority.push(self.soa());
                }
                Ok(Step::Answered)
            }
            None if settings.recursion() => Ok(Step::Forward),
            None => {
                response.fail(rcode::SERVFAIL);
                response.recursion_available = true;
                Ok(Step::Answered)
            }
        }
    }
}
