//! `snapshot --request`: requests to a component before its state is kept.
//!
//! What comes in: requests as people write them, and a live instance. What goes out: nothing but what they leave behind in
//! it ([`make`], [`forget_leaks`]), and whether whoever starts from there can answer too ([`check`]).

use std::str::FromStr;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, header};
use http_body_util::Full;
use precast_loader::TrapCode;
use precast_loader::component::{Instance, Linker};
use precast_wasi::http::{self as wasi_http, IncomingBody};
use precast_wasi::preview2::{Ctx, Template};

use crate::component::guest as component_guest;
use crate::error::Error;
use crate::guest::Stop;
use crate::trap::Backtrace;

/// What requests are made to.
const AUTHORITY: &str = "localhost";

/// A request: method, path and query, and perhaps a body.
#[derive(Clone, Debug)]
pub(crate) struct WarmUp {
    method: Method,
    path: PathAndQuery,
    body: Bytes,
}

impl FromStr for WarmUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ' ');
        let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let method = Method::from_str(method).map_err(|_| format!("`{method}` is no method"))?;
        let path = Some(path).filter(|path| path.starts_with('/'));
        let path = path.ok_or("a request is a method, a path that begins with /, and perhaps a body")?;
        let path = PathAndQuery::from_str(path).map_err(|error| format!("the path `{path}`: {error}"))?;
        Ok(WarmUp { method, path, body: Bytes::copy_from_slice(parts.next().unwrap_or_default().as_bytes()) })
    }
}

impl std::fmt::Display for WarmUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl WarmUp {
    fn request(&self) -> Request<IncomingBody> {
        let mut request = Request::new(IncomingBody::new(Full::new(self.body.clone())));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static(AUTHORITY));
        if !self.body.is_empty() {
            request.headers_mut().insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        request
    }
}

/// The error where nothing answers requests.
pub(crate) fn no_handler() -> Error {
    Error::Usage("--request is for components that export `wasi:http/incoming-handler`".into())
}

/// Makes `requests` to `instance`, one after the other. `told` is called with a kind (`answered`) and a message for each.
///
/// # Errors
/// A request has no answer, or a failure for one: instances would start from there.
pub(crate) async fn make(
    instance: &mut Instance<Ctx>,
    requests: &[WarmUp],
    told: impl Fn(&str, String),
) -> Result<(), Stop> {
    for request in requests {
        let response = ask(instance, request).await?;
        let (status, bytes) = (response.status(), response.body().len());
        told("answered", format!("`{request}` is answered with {status}, {bytes} bytes"));
        if status.is_server_error() {
            return Err(Error::Failed(format!("`{request}` has failed in the program")).into());
        }
    }
    Ok(())
}

/// Lets the guest keep handles of what is gone when its requests are. `told` is called with a kind (`leaked`) and a message
/// for each.
pub(crate) fn forget_leaks(instance: &mut Instance<Ctx>, told: impl Fn(&str, String)) -> Result<(), Stop> {
    let forgotten = instance.forget_resources();
    let forgotten = forgotten.map_err(|error| Error::context("the program is not between two requests", error))?;
    for (handle, name) in forgotten {
        told("leaked", format!("handle {handle} is left behind, of `{name}`"));
    }
    Ok(())
}

/// Checks that an instance which starts from where `instance` is answers the first of `requests`. What cannot be kept at
/// all is told by the snapshot.
pub(crate) async fn check(
    linker: &Linker<Ctx>,
    template: &Template,
    instance: &Instance<Ctx>,
    requests: &[WarmUp],
) -> Result<(), Stop> {
    let (Some(request), Ok(kept)) = (requests.first(), instance.checkpoint()) else { return Ok(()) };
    let mut started = component_guest::bind(linker, &kept)?.instantiate_async(template.context()).await?;
    let why = match ask(&mut started, request).await {
        Ok(response) if response.status().is_server_error() => response.status().to_string(),
        Ok(_) => return Ok(()),
        Err(Stop::Trap(trap)) if trap.code() != TrapCode::Interrupted => Backtrace(&trap).to_string(),
        Err(Stop::Failed(error)) => error.causes().fold(error.to_string(), |text, cause| format!("{text}: {cause}")),
        Err(stop) => return Err(stop),
    };
    let message = format!("an instance that starts from there does not answer `{request}` again: {why}");
    Err(Error::Failed(message).into())
}

async fn ask(instance: &mut Instance<Ctx>, request: &WarmUp) -> Result<Response<Bytes>, Stop> {
    let answered = wasi_http::answer(instance, |context| context, request.request(), Scheme::HTTP).await;
    answered.map_err(|error| match error {
        wasi_http::Error::Guest(error) => error.into(),
        wasi_http::Error::Instantiate(error) => error.into(),
        wasi_http::Error::Export(_) => no_handler().into(),
        error => Error::context(format_args!("`{request}` has no answer"), error).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_parsed() {
        let parsed = |text: &str| WarmUp::from_str(text).map(|it| format!("{it} {:?}", it.body));
        assert_eq!(parsed("GET /").as_deref(), Ok("GET / b\"\""));
        assert_eq!(parsed("POST /a?b=c two words").as_deref(), Ok("POST /a?b=c b\"two words\""));
        for bad in ["", "GET", "GET a", "GET  /", "G(T /", "GET /\u{7f}", "/ GET"] {
            assert!(WarmUp::from_str(bad).is_err(), "{bad}");
        }
    }
}
