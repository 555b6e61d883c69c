//! `wasi:io` as guests call it.

use bytes::Bytes;
use precast_loader::HostError;
use precast_loader::component::Resource;

use super::pollable::{self, take_turns, until_ready};
use super::{Error, Input, MOST_BYTES, Output, Pollable, StreamError, zeroes};
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::io::{error, poll, streams};

/// Most bytes of a write that blocks, as the interface says.
const MOST_BLOCKING: u64 = 4096;

/// A result whose error the guest sees.
type Streamed<T> = Result<Result<T, streams::StreamError>, HostError>;

impl error::HostError for Ctx {
    fn to_debug_string(&mut self, self_: Resource<Error>) -> Result<String, HostError> {
        Ok(self.table.get(&self_)?.to_debug_string())
    }

    fn drop(&mut self, rep: Resource<Error>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl error::Host for Ctx {}

impl poll::HostPollable for Ctx {
    fn ready(&mut self, self_: Resource<Pollable>) -> Result<bool, HostError> {
        pollable::is_ready(&mut self.table, &self_)
    }

    async fn block(&mut self, self_: Resource<Pollable>) -> Result<(), HostError> {
        pollable::poll(&mut self.table, &[self_]).await.map(|_| ())
    }

    fn drop(&mut self, rep: Resource<Pollable>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl poll::Host for Ctx {
    async fn poll(&mut self, in_: Vec<Resource<Pollable>>) -> Result<Vec<u32>, HostError> {
        pollable::poll(&mut self.table, &in_).await
    }
}

impl streams::HostInputStream for Ctx {
    fn read(&mut self, self_: Resource<Input>, len: u64) -> Streamed<Vec<u8>> {
        let read = self.table.get_mut(&self_)?.read(len);
        self.streamed(read.map(Vec::from))
    }

    async fn blocking_read(&mut self, self_: Resource<Input>, len: u64) -> Streamed<Vec<u8>> {
        take_turns().await;
        loop {
            match self.table.get_mut(&self_)?.read(len) {
                Ok(bytes) if bytes.is_empty() && len > 0 => until_ready(&mut self.table, &self_).await?,
                read => return self.streamed(read.map(Vec::from)),
            }
        }
    }

    fn skip(&mut self, self_: Resource<Input>, len: u64) -> Streamed<u64> {
        let skipped = self.table.get_mut(&self_)?.skip(len);
        self.streamed(skipped)
    }

    async fn blocking_skip(&mut self, self_: Resource<Input>, len: u64) -> Streamed<u64> {
        take_turns().await;
        loop {
            match self.table.get_mut(&self_)?.skip(len) {
                Ok(0) if len > 0 => until_ready(&mut self.table, &self_).await?,
                skipped => return self.streamed(skipped),
            }
        }
    }

    fn subscribe(&mut self, self_: Resource<Input>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn drop(&mut self, rep: Resource<Input>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl streams::HostOutputStream for Ctx {
    fn check_write(&mut self, self_: Resource<Output>) -> Streamed<u64> {
        let permit = self.table.get_mut(&self_)?.check_write();
        self.streamed(permit)
    }

    fn write(&mut self, self_: Resource<Output>, contents: Vec<u8>) -> Streamed<()> {
        let written = self.table.get_mut(&self_)?.write(contents.into());
        self.streamed(written)
    }

    async fn blocking_write_and_flush(&mut self, self_: Resource<Output>, contents: Vec<u8>) -> Streamed<()> {
        let written = self.write_and_flush(&self_, contents.into()).await?;
        self.streamed(written)
    }

    fn flush(&mut self, self_: Resource<Output>) -> Streamed<()> {
        let flushed = self.table.get_mut(&self_)?.flush();
        self.streamed(flushed)
    }

    async fn blocking_flush(&mut self, self_: Resource<Output>) -> Streamed<()> {
        let flushed = self.flush_to_the_end(&self_).await?;
        self.streamed(flushed)
    }

    fn subscribe(&mut self, self_: Resource<Output>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn write_zeroes(&mut self, self_: Resource<Output>, len: u64) -> Streamed<()> {
        let written = self.table.get_mut(&self_)?.write_zeroes(len);
        self.streamed(written)
    }

    async fn blocking_write_zeroes_and_flush(&mut self, self_: Resource<Output>, len: u64) -> Streamed<()> {
        // More than is allowed is refused by its length, before it is made.
        let contents = zeroes(usize::try_from(len).unwrap_or(MOST_BYTES).min(MOST_BLOCKING as usize + 1));
        let written = self.write_and_flush(&self_, contents).await?;
        self.streamed(written)
    }

    fn splice(&mut self, self_: Resource<Output>, src: Resource<Input>, len: u64) -> Streamed<u64> {
        let moved = self.splice_once(&self_, &src, len)?;
        self.streamed(moved)
    }

    async fn blocking_splice(&mut self, self_: Resource<Output>, src: Resource<Input>, len: u64) -> Streamed<u64> {
        take_turns().await;
        loop {
            match self.splice_once(&self_, &src, len)? {
                Ok(0) if len > 0 => {
                    until_ready(&mut self.table, &self_).await?;
                    until_ready(&mut self.table, &src).await?;
                }
                moved => return self.streamed(moved),
            }
        }
    }

    fn drop(&mut self, rep: Resource<Output>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl streams::Host for Ctx {}

/// A guest writes too much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest writes more than {MOST_BLOCKING} bytes with a blocking write")]
pub struct TooMuch;

impl Ctx {
    /// Makes an error of a stream the guest's: what it broke the rules by stops it.
    fn streamed<T>(&mut self, result: Result<T, StreamError>) -> Streamed<T> {
        Ok(match result {
            Ok(value) => Ok(value),
            Err(StreamError::Closed) => Err(streams::StreamError::Closed),
            Err(StreamError::Failed(error)) => Err(streams::StreamError::LastOperationFailed(self.table.push(error)?)),
            Err(StreamError::Trap(error)) => return Err(error),
        })
    }

    /// Writes all of `contents` and flushes, waiting as often as needed.
    async fn write_and_flush(
        &mut self,
        output: &Resource<Output>,
        mut contents: Bytes,
    ) -> Result<Result<(), StreamError>, HostError> {
        if contents.len() as u64 > MOST_BLOCKING {
            return Err(TooMuch.into());
        }
        take_turns().await;
        while !contents.is_empty() {
            let stream = self.table.get_mut(output)?;
            match stream.check_write() {
                Ok(0) => until_ready(&mut self.table, output).await?,
                Ok(permit) => {
                    let part = contents.split_to(contents.len().min(usize::try_from(permit)?));
                    if let Err(error) = stream.write(part) {
                        return Ok(Err(error));
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        self.flush_to_the_end(output).await
    }

    async fn flush_to_the_end(&mut self, output: &Resource<Output>) -> Result<Result<(), StreamError>, HostError> {
        if let Err(error) = self.table.get_mut(output)?.flush() {
            return Ok(Err(error));
        }
        loop {
            match self.table.get_mut(output)?.check_write() {
                Ok(0) => until_ready(&mut self.table, output).await?,
                // The last write may be what closed it: it succeeded all the same.
                Ok(_) | Err(StreamError::Closed) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Moves what can be moved at once.
    fn splice_once(
        &mut self,
        output: &Resource<Output>,
        input: &Resource<Input>,
        len: u64,
    ) -> Result<Result<u64, StreamError>, HostError> {
        let permit = match self.table.get_mut(output)?.check_write() {
            Ok(permit) => permit,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = match self.table.get_mut(input)?.read(len.min(permit)) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        let moved = bytes.len() as u64;
        Ok(self.table.get_mut(output)?.write(bytes).map(|()| moved))
    }
}
