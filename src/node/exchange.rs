//! What a worker and the control thread hand each other, in bounded queues. Neither ever waits for the other.

use super::hold::HoldLimits;
use super::neighbour::Key;
use crate::path::{Miss, Notice, Triangle};
use crate::table::PortId;
use arrayvec::ArrayVec;
use crossbeam_queue::ArrayQueue;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest frame that is handed over, in bytes: control messages are short, and longer ones are dropped. A
/// report of many groups fills a packet of 1500 bytes.
pub const FRAME_BYTES: usize = 1536;
/// Events and frames that wait, at most, each way.
pub const DEPTH: usize = 256;
/// Frames for the control thread that wait, at most. Every port may fill its share at once: see `path/punts`.
const PUNTED: usize = 1024;
/// Frames in an [`SendQueue`], at most: one of each kind for every VLAN of several ports.
const OUTBOX_FRAMES: usize = 32_768;

/// A frame handed over by copy.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Port that it came from or goes to.
    pub port: PortId,
    /// From the Ethernet header on.
    pub bytes: ArrayVec<u8, FRAME_BYTES>,
}

impl Frame {
    /// A copy of `bytes`; `None` when they are too long.
    #[must_use]
    pub fn new(port: PortId, bytes: &[u8]) -> Option<Self> {
        let mut copy = ArrayVec::new();
        copy.try_extend_from_slice(bytes).ok()?;
        Some(Frame { port, bytes: copy })
    }
}

/// What a reload may change for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// ICMPv6 errors a second, of this worker.
    pub errors_per_second: u32,
    /// ICMPv6 errors at once, of this worker.
    pub errors_burst: u32,
    /// Packets that wait for one neighbour.
    pub hold_packets: u8,
    /// Longest time that a packet waits. It is longer than a neighbour may take to answer, so that the
    /// packet's sender gets an ICMPv6 error when it does not (RFC 4861 §7.2.2).
    pub hold_timeout_ms: u64,
    /// What is held for a VM or task that is about to arrive.
    pub hold: HoldLimits,
    /// Packets a second that leave when they were held, beyond those that come meanwhile.
    pub release_per_second: u32,
}

/// The queues between one worker and the control thread.
#[derive(Debug)]
pub struct Exchange {
    /// Worker to control: neighbours on connected subnets that packets wait for. Next hops are solicited in
    /// any case.
    pub wanted: ArrayQueue<Key>,
    /// Worker to control: frames for the control thread to read.
    pub punted: ArrayQueue<Frame>,
    /// Worker to control: address conflicts, and solicitations of neighbours.
    pub notices: ArrayQueue<Notice>,
    /// Worker to the client of the authority: identifiers without a mapping. A queue of their own, so that random
    /// destinations keep no notice back.
    pub misses: ArrayQueue<Miss>,
    /// Worker to the client of the authority: triangular packets. Those beyond its room are lost.
    pub triangles: ArrayQueue<Triangle>,
    /// Control to worker: frames to send.
    pub to_send: ArrayQueue<Frame>,
    /// Control to worker: settings. The worker reads the newest when its snapshot changes.
    pub settings: ArrayQueue<Settings>,
    seeks_triangles: AtomicBool,
    stop: AtomicBool,
    stopped: AtomicBool,
}

impl Exchange {
    /// Empty queues.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Exchange {
            wanted: ArrayQueue::new(DEPTH),
            punted: ArrayQueue::new(PUNTED),
            notices: ArrayQueue::new(DEPTH),
            misses: ArrayQueue::new(DEPTH),
            triangles: ArrayQueue::new(DEPTH),
            to_send: ArrayQueue::new(DEPTH),
            settings: ArrayQueue::new(1),
            seeks_triangles: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        })
    }

    /// Whether the worker is to look for triangular packets.
    pub fn seek_triangles(&self, seeks: bool) {
        self.seeks_triangles.store(seeks, Ordering::Relaxed);
    }

    /// Whether to look for triangular packets.
    #[must_use]
    pub fn seeks_triangles(&self) -> bool {
        self.seeks_triangles.load(Ordering::Relaxed)
    }

    /// Tells the worker to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the worker is to stop.
    #[inline]
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Notes that the worker has ended, for whatever reason.
    pub fn set_stopped(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether the worker has ended.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Frames of the control thread that a worker has no room for yet, in order.
#[derive(Debug, Default)]
pub struct SendQueue(VecDeque<Box<Frame>>);

impl SendQueue {
    /// Adds a frame behind those that wait. `false`: there are 32,768 already, and the frame is lost.
    #[must_use]
    pub fn push(&mut self, frame: Box<Frame>) -> bool {
        let room = self.0.len() < OUTBOX_FRAMES;
        if room {
            self.0.push_back(frame);
        }
        room
    }

    /// Hands frames to a worker, as many as it has room for.
    pub fn flush(&mut self, exchange: &Exchange) {
        while let Some(frame) = self.0.pop_front() {
            if let Err(frame) = exchange.to_send.push(*frame) {
                return self.0.push_front(Box::new(frame));
            }
        }
    }

    /// Whether no frame waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frames that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
