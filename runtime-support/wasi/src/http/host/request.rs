//! The resources `incoming-request`, `outgoing-request` and `request-options`.

use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use precast_loader::HostError;
use precast_loader::component::Resource;

use super::types::{HostIncomingRequest, HostOutgoingRequest, HostRequestOptions, Method, Scheme};
use crate::http::fields::Fields;
use crate::http::message::{Incoming, IncomingRequest, Outgoing, OutgoingRequest, RequestOptions};
use crate::preview2::Ctx;

/// Where the interface has a result without payloads.
type Done = Result<Result<(), ()>, HostError>;

fn method(method: &http::Method) -> Method {
    match *method {
        http::Method::GET => Method::Get,
        http::Method::HEAD => Method::Head,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::DELETE => Method::Delete,
        http::Method::CONNECT => Method::Connect,
        http::Method::OPTIONS => Method::Options,
        http::Method::TRACE => Method::Trace,
        http::Method::PATCH => Method::Patch,
        _ => Method::Other(method.as_str().to_owned()),
    }
}

fn parse_method(method: &Method) -> Option<http::Method> {
    Some(match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
        Method::Connect => http::Method::CONNECT,
        Method::Options => http::Method::OPTIONS,
        Method::Trace => http::Method::TRACE,
        Method::Patch => http::Method::PATCH,
        Method::Other(name) => http::Method::from_bytes(name.as_bytes()).ok()?,
    })
}

fn scheme(scheme: &http::uri::Scheme) -> Scheme {
    match scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    }
}

fn parse_scheme(scheme: &Scheme) -> Option<http::uri::Scheme> {
    match scheme {
        Scheme::Http => Some(http::uri::Scheme::HTTP),
        Scheme::Https => Some(http::uri::Scheme::HTTPS),
        Scheme::Other(name) => http::uri::Scheme::try_from(name.as_str()).ok(),
    }
}

impl HostIncomingRequest for Ctx {
    fn method(&mut self, self_: Resource<IncomingRequest>) -> Result<Method, HostError> {
        Ok(method(&self.table.get(&self_)?.method))
    }

    fn path_with_query(&mut self, self_: Resource<IncomingRequest>) -> Result<Option<String>, HostError> {
        Ok(self.table.get(&self_)?.path.as_ref().map(|path| path.as_str().to_owned()))
    }

    fn scheme(&mut self, self_: Resource<IncomingRequest>) -> Result<Option<Scheme>, HostError> {
        Ok(Some(scheme(&self.table.get(&self_)?.scheme)))
    }

    fn authority(&mut self, self_: Resource<IncomingRequest>) -> Result<Option<String>, HostError> {
        Ok(self.table.get(&self_)?.authority.clone())
    }

    fn headers(&mut self, self_: Resource<IncomingRequest>) -> Result<Resource<Fields>, HostError> {
        let headers = self.table.get_mut(&self_)?.headers();
        Ok(self.table.push_child(Fields::immutable(headers), &self_)?)
    }

    fn consume(&mut self, self_: Resource<IncomingRequest>) -> Result<Result<Resource<Incoming>, ()>, HostError> {
        match self.table.get_mut(&self_)?.body.take() {
            Some(reader) => Ok(Ok(self.table.push(Incoming { reader, read: false })?)),
            None => Ok(Err(())),
        }
    }

    fn drop(&mut self, rep: Resource<IncomingRequest>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl HostOutgoingRequest for Ctx {
    fn new(&mut self, headers: Resource<Fields>) -> Result<Resource<OutgoingRequest>, HostError> {
        let headers = self.table.delete(headers)?.into_shared();
        Ok(self.table.push(OutgoingRequest::new(headers))?)
    }

    fn body(&mut self, self_: Resource<OutgoingRequest>) -> Result<Result<Resource<Outgoing>, ()>, HostError> {
        match self.table.get_mut(&self_)?.body() {
            Some(body) => Ok(Ok(self.table.push(body)?)),
            None => Ok(Err(())),
        }
    }

    fn method(&mut self, self_: Resource<OutgoingRequest>) -> Result<Method, HostError> {
        Ok(method(&self.table.get(&self_)?.method))
    }

    fn set_method(&mut self, self_: Resource<OutgoingRequest>, method: Method) -> Done {
        let request = self.table.get_mut(&self_)?;
        Ok(parse_method(&method).map(|method| request.method = method).ok_or(()))
    }

    fn path_with_query(&mut self, self_: Resource<OutgoingRequest>) -> Result<Option<String>, HostError> {
        Ok(self.table.get(&self_)?.path.as_ref().map(|path| path.as_str().to_owned()))
    }

    fn set_path_with_query(&mut self, self_: Resource<OutgoingRequest>, path_with_query: Option<String>) -> Done {
        let request = self.table.get_mut(&self_)?;
        Ok(parsed(path_with_query, |path| PathAndQuery::try_from(path).ok()).map(|path| request.path = path))
    }

    fn scheme(&mut self, self_: Resource<OutgoingRequest>) -> Result<Option<Scheme>, HostError> {
        Ok(self.table.get(&self_)?.scheme.as_ref().map(scheme))
    }

    fn set_scheme(&mut self, self_: Resource<OutgoingRequest>, scheme: Option<Scheme>) -> Done {
        let request = self.table.get_mut(&self_)?;
        Ok(parsed(scheme, |scheme| parse_scheme(&scheme)).map(|scheme| request.scheme = scheme))
    }

    fn authority(&mut self, self_: Resource<OutgoingRequest>) -> Result<Option<String>, HostError> {
        Ok(self.table.get(&self_)?.authority.as_ref().map(|authority| authority.as_str().to_owned()))
    }

    fn set_authority(&mut self, self_: Resource<OutgoingRequest>, authority: Option<String>) -> Done {
        let request = self.table.get_mut(&self_)?;
        let set = parsed(authority, |authority| Authority::try_from(authority).ok());
        Ok(set.map(|authority| request.authority = authority))
    }

    fn headers(&mut self, self_: Resource<OutgoingRequest>) -> Result<Resource<Fields>, HostError> {
        let headers = self.table.get(&self_)?.headers.clone();
        Ok(self.table.push_child(Fields::immutable(headers), &self_)?)
    }

    fn drop(&mut self, rep: Resource<OutgoingRequest>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

/// Nothing, or something that can be parsed.
fn parsed<F, V>(text: Option<F>, parse: impl FnOnce(F) -> Option<V>) -> Result<Option<V>, ()> {
    text.map(|text| parse(text).ok_or(())).transpose()
}

fn nanoseconds(timeout: Option<Duration>) -> Option<u64> {
    timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
}

impl HostRequestOptions for Ctx {
    fn new(&mut self) -> Result<Resource<RequestOptions>, HostError> {
        Ok(self.table.push(RequestOptions::default())?)
    }

    fn connect_timeout(&mut self, self_: Resource<RequestOptions>) -> Result<Option<u64>, HostError> {
        Ok(nanoseconds(self.table.get(&self_)?.0.connect))
    }

    fn set_connect_timeout(&mut self, self_: Resource<RequestOptions>, duration: Option<u64>) -> Done {
        self.table.get_mut(&self_)?.0.connect = duration.map(Duration::from_nanos);
        Ok(Ok(()))
    }

    fn first_byte_timeout(&mut self, self_: Resource<RequestOptions>) -> Result<Option<u64>, HostError> {
        Ok(nanoseconds(self.table.get(&self_)?.0.first_byte))
    }

    fn set_first_byte_timeout(&mut self, self_: Resource<RequestOptions>, duration: Option<u64>) -> Done {
        self.table.get_mut(&self_)?.0.first_byte = duration.map(Duration::from_nanos);
        Ok(Ok(()))
    }

    fn between_bytes_timeout(&mut self, self_: Resource<RequestOptions>) -> Result<Option<u64>, HostError> {
        Ok(nanoseconds(self.table.get(&self_)?.0.between_bytes))
    }

    fn set_between_bytes_timeout(&mut self, self_: Resource<RequestOptions>, duration: Option<u64>) -> Done {
        self.table.get_mut(&self_)?.0.between_bytes = duration.map(Duration::from_nanos);
        Ok(Ok(()))
    }

    fn drop(&mut self, rep: Resource<RequestOptions>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_schemes_go_both_ways() {
        for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "BREW"] {
            let there = http::Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(parse_method(&method(&there)), Some(there));
        }
        assert_eq!(parse_method(&Method::Other("a b".into())), None);
        for name in ["http", "https", "ftp"] {
            let there = http::uri::Scheme::try_from(name).unwrap();
            assert_eq!(parse_scheme(&scheme(&there)), Some(there));
        }
        assert_eq!(parse_scheme(&Scheme::Other("a b".into())), None);
    }
}
