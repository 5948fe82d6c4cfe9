//! Fills an empty prefix with a registry that was read elsewhere: a backup, or a file that moves.
//!
//! While it does, the head is a [`Mark`]: no authority starts there, and each write is conditional on that mark. So what
//! was written is of no use before the end, which puts the head in the place of the mark, and a copy that did not end is
//! known as such, deleted and made anew by the next one.

use super::layout::{BATCH, Layout, Mark, end_of, read_head, read_mark, write_head, write_mark};
use super::link::{Failure, Link, PAUSE, answer, runtime};
use crate::config::EtcdConfig;
use crate::nva::store::interface::{EPOCH, Progress, StoreError, Stored};
use crate::nva::store::sequencer::{Head, TOKEN};
use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Objects of one transaction: each may have 256 KiB, and a request 1.5 MiB.
const OBJECTS: usize = 4;
/// Times that etcd is asked without an answer before it is given up.
const TRIES: usize = 20;

/// A prefix that is being filled.
pub(in crate::nva::store) struct Filling {
    runtime: Runtime,
    link: Link,
    layout: Layout,
    mark: Mark,
}

/// What a transaction found at the head if it changed nothing.
type Taken = Result<(), Option<Vec<u8>>>;

impl Filling {
    /// Marks an empty prefix, or one with a copy of the same registry that did not end. `epoch` is that of the registry that
    /// is to be; if that is there already as a whole, nothing is to be done. `goes_on`: a whole copy was there once, and nothing
    /// but that, or what comes of it, is gone on with.
    ///
    /// # Errors
    /// Something else is there, or etcd refuses or does not answer.
    pub(in crate::nva::store) fn begin(
        config: &EtcdConfig,
        epoch: [u8; EPOCH],
        source: [u8; EPOCH],
        file: &Path,
        goes_on: bool,
    ) -> Result<Option<Filling>, StoreError> {
        let mut run = [0; EPOCH];
        rand::fill(&mut run[..]);
        let mark = Mark { run, epoch, source, file: file.display().to_string() };
        let (runtime, layout) = (runtime()?, Layout::new(&config.prefix));
        let mut filling = Filling { runtime, link: Link::new(Arc::new(config.clone())), layout, mark };
        let put = [TxnOp::put(filling.layout.head(), write_mark(&filling.mark), None)];
        let range = (filling.layout.prefix().to_owned(), end_of(filling.layout.prefix()));
        let is_empty = match goes_on {
            // Never: what is there is only looked at.
            true => Compare::create_revision(filling.layout.head(), CompareOp::Less, 0),
            false => Compare::create_revision(range.0, CompareOp::Equal, 0).with_range(range.1),
        };
        let Err(found) = filling.write(is_empty, put.to_vec())? else { return Ok(Some(filling)) };
        let Some(found) = found.or((!goes_on).then(Vec::new)) else {
            let why = "the registry of this file moved, and nothing of it is there; name the etcd that it moved to, or make a \
                       backup there and restore it here";
            return Err(StoreError(format!("{}: {why}", config.prefix)));
        };
        if read_head(&found).is_some_and(|head| head.epoch == epoch) {
            return Ok(None);
        }
        let before = read_mark(&found).filter(|before| before.source == source);
        let Some(before) = before else { return Err(filling.is_taken(&found)) };
        let is_before = Compare::value(filling.layout.head(), CompareOp::Equal, write_mark(&before));
        if filling.write(is_before, put.to_vec())?.is_err() {
            return Err(filling.overtaken());
        }
        filling.clear()?;
        Ok(Some(filling))
    }

    /// Deletes what a copy before this one wrote.
    fn clear(&mut self) -> Result<(), StoreError> {
        // Parts of the records: all of them in one request would take too long.
        for prefix in self
            .layout
            .sixteenths()
            .chain([self.layout.objects(), self.layout.allocations(), self.layout.restored()])
            .collect::<Vec<_>>()
        {
            let options = DeleteOptions::new().with_range(end_of(&prefix));
            self.write_marked(vec![TxnOp::delete(prefix, Some(options))])?;
        }
        Ok(())
    }

    /// Writes everything but the head.
    ///
    /// # Errors
    /// Another copy began, or etcd refuses or does not answer.
    pub(in crate::nva::store) fn copy(
        &mut self,
        stored: &Stored,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let all = stored.records.len() + stored.objects.len();
        let mut done = 0;
        if stored.restored {
            self.write_marked(vec![TxnOp::put(self.layout.restored(), "", None)])?;
        }
        for batch in stored.records.chunks(BATCH) {
            progress("copying", done, all);
            self.write_marked(batch.iter().map(|(key, it)| self.layout.put_record(*key, it)).collect())?;
            done += batch.len();
        }
        for batch in stored.objects.chunks(OBJECTS) {
            progress("copying", done, all);
            self.write_marked(batch.iter().map(|(key, it)| self.layout.put_object(key, it)).collect())?;
            done += batch.len();
        }
        for batch in stored.allocations.chunks(BATCH) {
            let put = batch.iter().map(|(key, it)| self.layout.put_allocation(key, it));
            self.write_marked(put.collect())?;
        }
        for batch in stored.groups.chunks(OBJECTS) {
            self.write_marked(batch.iter().map(|group| self.layout.put_group(group)).collect())?;
        }
        progress("copying", all, all);
        Ok(())
    }

    /// Puts the head in the place of the mark: from now on it is a registry.
    ///
    /// # Errors
    /// Another copy began, or etcd refuses or does not answer.
    pub(in crate::nva::store) fn end(mut self, revision: u64) -> Result<(), StoreError> {
        let head = Head { epoch: self.mark.epoch, revision, token: [0; TOKEN] };
        let put = TxnOp::put(self.layout.head(), write_head(&head), None);
        match self.write(self.is_marked(), vec![put])? {
            // The first copy of the request was lost for us, and took effect; an authority may have gone on since.
            Err(Some(found)) if read_head(&found).is_some_and(|it| it.epoch == head.epoch) => Ok(()),
            Err(_) => Err(self.overtaken()),
            Ok(()) => Ok(()),
        }
    }

    fn is_marked(&self) -> Compare {
        Compare::value(self.layout.head(), CompareOp::Equal, write_mark(&self.mark))
    }

    fn write_marked(&mut self, operations: Vec<TxnOp>) -> Result<(), StoreError> {
        self.write(self.is_marked(), operations)?.map_err(|_| self.overtaken())
    }

    /// Writes on a condition. What is written may be written twice, and without an answer it is.
    fn write(&mut self, condition: Compare, operations: Vec<TxnOp>) -> Result<Taken, StoreError> {
        let Filling { runtime, link, layout, mark } = self;
        let transaction = Txn::new().when([condition]).and_then(operations);
        let transaction = transaction.or_else([TxnOp::get(layout.head(), None)]);
        let mut failed = String::new();
        for _ in 0..TRIES {
            let done = runtime.block_on(async {
                let mut client = link.client().await?;
                answer(client.txn(transaction.clone())).await
            });
            match done {
                Ok(done) if done.succeeded() => return Ok(Ok(())),
                Ok(done) => {
                    let found = done.op_responses().into_iter().find_map(|response| match response {
                        TxnOpResponse::Get(got) => got.kvs().first().map(|it| it.value().to_vec()),
                        _ => None,
                    });
                    // The first copy of the request may have put it there.
                    let is_own = found.as_deref() == Some(write_mark(mark).as_bytes());
                    return Ok(if is_own && !failed.is_empty() { Ok(()) } else { Err(found) });
                }
                Err(Failure::Refused(why)) => {
                    return Err(StoreError(format!("{}: {why}; then run this again", link.endpoint())));
                }
                Err(Failure::Unknown(why)) => {
                    failed = format!("{}: {why}; run this again when etcd answers", link.endpoint());
                    link.failed();
                    runtime.block_on(tokio::time::sleep(PAUSE));
                }
            }
        }
        Err(StoreError(failed))
    }

    fn is_taken(&self, found: &[u8]) -> StoreError {
        let prefix = self.layout.prefix();
        let what = match (read_mark(found), read_head(found)) {
            (Some(mark), _) => format!("a copy of {} that did not end", mark.file),
            (None, Some(head)) => format!("a registry at revision {}", head.revision),
            (None, None) => "something".to_owned(),
        };
        StoreError(format!(
            "{}: there is {what} below {prefix} already; name another store.etcd.prefix, or, if nobody uses it, delete \
             it: etcdctl del --prefix {prefix}",
            self.link.endpoint()
        ))
    }

    fn overtaken(&self) -> StoreError {
        let prefix = self.layout.prefix();
        StoreError(format!("{}: another copy into {prefix} began, and this one ends", self.link.endpoint()))
    }
}
