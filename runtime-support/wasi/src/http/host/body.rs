//! The resources `incoming-body`, `future-trailers` and `outgoing-body`.

use std::sync::Arc;
use std::task::{Context, Waker};

use precast_loader::HostError;
use precast_loader::component::Resource;

use super::types::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use crate::http::ErrorCode;
use crate::http::fields::Fields;
use crate::http::message::{FutureTrailers, Incoming, Outgoing};
use crate::preview2::Ctx;
use crate::preview2::io::{Input, Output, Pollable};

impl HostIncomingBody for Ctx {
    fn stream(&mut self, self_: Resource<Incoming>) -> Result<Result<Resource<Input>, ()>, HostError> {
        let body = self.table.get_mut(&self_)?;
        if std::mem::replace(&mut body.read, true) {
            return Ok(Err(()));
        }
        let stream = Input::new(body.reader.clone());
        Ok(Ok(self.table.push_child(stream, &self_)?))
    }

    fn finish(&mut self, this: Resource<Incoming>) -> Result<Resource<FutureTrailers>, HostError> {
        let body = self.table.delete(this)?;
        Ok(self.table.push(FutureTrailers { reader: body.reader, taken: false })?)
    }

    fn drop(&mut self, rep: Resource<Incoming>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

/// What `future-trailers.get` gives.
type Received = Option<Result<Result<Option<Resource<Fields>>, ErrorCode>, ()>>;

impl HostFutureTrailers for Ctx {
    fn subscribe(&mut self, self_: Resource<FutureTrailers>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn get(&mut self, self_: Resource<FutureTrailers>) -> Result<Received, HostError> {
        let future = self.table.get_mut(&self_)?;
        if future.taken {
            return Ok(Some(Err(())));
        }
        // Who does not wait gets what is there.
        let _ = future.reader.poll_ended(&mut Context::from_waker(Waker::noop()));
        let Some(trailers) = future.reader.trailers() else { return Ok(None) };
        future.taken = true;
        Ok(Some(Ok(match trailers {
            Err(code) => Err(code),
            Ok(None) => Ok(None),
            Ok(Some(map)) => Ok(Some(self.table.push_child(Fields::immutable(Arc::new(map)), &self_)?)),
        })))
    }

    fn drop(&mut self, rep: Resource<FutureTrailers>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl HostOutgoingBody for Ctx {
    fn write(&mut self, self_: Resource<Outgoing>) -> Result<Result<Resource<Output>, ()>, HostError> {
        let body = self.table.get_mut(&self_)?;
        if std::mem::replace(&mut body.written, true) {
            return Ok(Err(()));
        }
        let stream = Output::new(body.writer.stream());
        Ok(Ok(self.table.push_child(stream, &self_)?))
    }

    fn finish(
        &mut self,
        this: Resource<Outgoing>,
        trailers: Option<Resource<Fields>>,
    ) -> Result<Result<(), ErrorCode>, HostError> {
        let body = self.table.delete(this)?;
        let trailers = match trailers {
            Some(trailers) => Some(Arc::unwrap_or_clone(self.table.delete(trailers)?.into_shared())),
            None => None,
        };
        Ok(body.writer.finish(trailers))
    }

    fn drop(&mut self, rep: Resource<Outgoing>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}
