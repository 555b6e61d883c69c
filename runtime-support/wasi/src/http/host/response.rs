//! The resources `response-outparam`, `outgoing-response`, `incoming-response` and `future-incoming-response`.

use http::StatusCode;
use precast_loader::HostError;
use precast_loader::component::Resource;

use super::types::{HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingResponse, HostResponseOutparam};
use crate::http::ErrorCode;
use crate::http::fields::Fields;
use crate::http::message::{
    FutureIncomingResponse, Incoming, IncomingResponse, Outgoing, OutgoingResponse, ResponseOutparam,
};
use crate::preview2::Ctx;
use crate::preview2::io::Pollable;

impl HostResponseOutparam for Ctx {
    fn set(
        &mut self,
        param: Resource<ResponseOutparam>,
        response: Result<Resource<OutgoingResponse>, ErrorCode>,
    ) -> Result<(), HostError> {
        let answer = match response {
            Ok(response) => {
                let response = self.table.delete(response)?;
                response.into_response().map_err(|_| ErrorCode::HttpProtocolError)
            }
            Err(code) => Err(code),
        };
        self.table.delete(param)?.0.set(answer);
        Ok(())
    }

    fn drop(&mut self, rep: Resource<ResponseOutparam>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl HostOutgoingResponse for Ctx {
    fn new(&mut self, headers: Resource<Fields>) -> Result<Resource<OutgoingResponse>, HostError> {
        let headers = self.table.delete(headers)?.into_shared();
        Ok(self.table.push(OutgoingResponse::new(headers))?)
    }

    fn status_code(&mut self, self_: Resource<OutgoingResponse>) -> Result<u16, HostError> {
        Ok(self.table.get(&self_)?.status.as_u16())
    }

    fn set_status_code(
        &mut self,
        self_: Resource<OutgoingResponse>,
        status_code: u16,
    ) -> Result<Result<(), ()>, HostError> {
        let response = self.table.get_mut(&self_)?;
        // A response with a status below 200 is none: another has to follow it.
        let status = StatusCode::from_u16(status_code).ok().filter(|status| !status.is_informational());
        Ok(status.map(|status| response.status = status).ok_or(()))
    }

    fn headers(&mut self, self_: Resource<OutgoingResponse>) -> Result<Resource<Fields>, HostError> {
        let headers = self.table.get(&self_)?.headers.clone();
        Ok(self.table.push_child(Fields::immutable(headers), &self_)?)
    }

    fn body(&mut self, self_: Resource<OutgoingResponse>) -> Result<Result<Resource<Outgoing>, ()>, HostError> {
        match self.table.get_mut(&self_)?.body() {
            Some(body) => Ok(Ok(self.table.push(body)?)),
            None => Ok(Err(())),
        }
    }

    fn drop(&mut self, rep: Resource<OutgoingResponse>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl HostIncomingResponse for Ctx {
    fn status(&mut self, self_: Resource<IncomingResponse>) -> Result<u16, HostError> {
        Ok(self.table.get(&self_)?.status.as_u16())
    }

    fn headers(&mut self, self_: Resource<IncomingResponse>) -> Result<Resource<Fields>, HostError> {
        let headers = self.table.get_mut(&self_)?.headers();
        Ok(self.table.push_child(Fields::immutable(headers), &self_)?)
    }

    fn consume(&mut self, self_: Resource<IncomingResponse>) -> Result<Result<Resource<Incoming>, ()>, HostError> {
        match self.table.get_mut(&self_)?.body.take() {
            Some(reader) => Ok(Ok(self.table.push(Incoming { reader, read: false })?)),
            None => Ok(Err(())),
        }
    }

    fn drop(&mut self, rep: Resource<IncomingResponse>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

/// What `future-incoming-response.get` gives.
type Received = Option<Result<Result<Resource<IncomingResponse>, ErrorCode>, ()>>;

impl HostFutureIncomingResponse for Ctx {
    fn subscribe(&mut self, self_: Resource<FutureIncomingResponse>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn get(&mut self, self_: Resource<FutureIncomingResponse>) -> Result<Received, HostError> {
        Ok(match self.table.get_mut(&self_)?.take() {
            None => None,
            Some(None) => Some(Err(())),
            Some(Some(Err(code))) => Some(Ok(Err(code))),
            Some(Some(Ok(response))) => Some(Ok(Ok(self.table.push(IncomingResponse::from(response))?))),
        })
    }

    fn drop(&mut self, rep: Resource<FutureIncomingResponse>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}
