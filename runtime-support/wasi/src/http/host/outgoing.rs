//! `wasi:http/outgoing-handler`: what is checked before a request of a guest's leaves.

use std::net::SocketAddr;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method};
use precast_loader::HostError;
use precast_loader::component::Resource;
use tokio::runtime::Handle;

use super::outgoing_handler;
use crate::denial::Denial;
use crate::grants::Address;
use crate::http::ErrorCode;
use crate::http::client::{self, Request};
use crate::http::message::{FutureIncomingResponse, OutgoingRequest, RequestOptions, Task};
use crate::preview2::Ctx;

impl outgoing_handler::Host for Ctx {
    fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> Result<Result<Resource<FutureIncomingResponse>, ErrorCode>, HostError> {
        let request = self.table.delete(request)?;
        let options = match options {
            Some(options) => self.table.delete(options)?,
            None => RequestOptions::default(),
        };
        let request = match self.checked(request, options) {
            Ok(request) => request,
            Err(code) => return Ok(Err(code)),
        };
        let Ok(runtime) = Handle::try_current() else {
            return Err("a request was made outside of a tokio runtime".into());
        };
        let task = runtime.spawn(client::send(request));
        Ok(Ok(self.table.push(FutureIncomingResponse::Waiting(Task(task)))?))
    }
}

impl Ctx {
    /// A request that may be sent.
    fn checked(&mut self, mut request: OutgoingRequest, options: RequestOptions) -> Result<Request, ErrorCode> {
        if request.method == Method::CONNECT {
            return Err(ErrorCode::HttpRequestMethodInvalid);
        }
        let secure = match &request.scheme {
            None => true,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) => return Err(ErrorCode::HttpRequestUriInvalid),
        };
        let authority = request.authority.take().ok_or(ErrorCode::HttpRequestUriInvalid)?;
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // A name and password would be sent to whoever is there.
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(ErrorCode::HttpRequestUriInvalid);
        }
        let port = match (authority.port(), secure) {
            (Some(port), _) => port.as_str().parse().map_err(|_| ErrorCode::HttpRequestUriInvalid)?,
            (None, true) => 443,
            (None, false) => 80,
        };
        let address = Address { host: host.to_owned(), port };
        self.check_net(&address)?;
        let host_field = HeaderValue::from_str(authority.as_str()).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
        let (headers, body) = request.take().map_err(|_| ErrorCode::HttpProtocolError)?;
        Ok(Request {
            method: request.method.clone(),
            tls: secure.then(|| self.shared.http.tls()),
            host: address.host,
            port,
            authority: host_field,
            path: request.path.take().unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers,
            body,
            timeouts: options.0,
        })
    }

    fn check_net(&self, address: &Address) -> Result<(), ErrorCode> {
        let rules = &self.shared.rules;
        let granted = match address.host.parse() {
            Ok(ip) => rules.reaches(SocketAddr::new(ip, address.port), |_, _| false),
            Err(_) => rules.reaches_name(&address.host, Some(address.port)),
        };
        if granted {
            self.shared.reads.report(|| format!("what {address} answered"));
            return Ok(());
        }
        self.deny(Denial::new(format!("an HTTP request to {address}"), format!("net:{address}")));
        Err(ErrorCode::HttpRequestDenied)
    }
}
