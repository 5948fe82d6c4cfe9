//! Connections that are slow, deaf or cut.
#![allow(missing_docs, unreachable_pub)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Forwards connections, as long as it may.
pub struct Proxy {
    pub address: SocketAddr,
    /// Whether answers are swallowed, and whether nothing is accepted.
    pub is_deaf: Arc<AtomicBool>,
    pub is_closed: Arc<AtomicBool>,
    /// Bytes of requests that were passed on.
    pub passed: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn before(to: SocketAddr) -> Proxy {
        Proxy::far_from(to, Duration::ZERO)
    }

    /// What passes it takes so long each way.
    pub fn far_from(to: SocketAddr, way: Duration) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            is_deaf: Arc::default(),
            is_closed: Arc::default(),
            passed: Arc::default(),
            open: Arc::default(),
        };
        let (is_deaf, is_closed) = (proxy.is_deaf.clone(), proxy.is_closed.clone());
        let (passed, open) = (proxy.passed.clone(), proxy.open.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if is_closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(to) else { continue };
                open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let never = Arc::new(AtomicBool::new(false));
                pass(near.try_clone().unwrap(), far.try_clone().unwrap(), way, never, passed.clone());
                pass(far, near, way, is_deaf.clone(), Arc::default());
            }
        });
        proxy
    }

    /// Cuts everything that is open.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    way: Duration,
    is_deaf: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
) {
    let (begins, arrives) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (at, bytes) in arrives {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if !is_deaf.load(Ordering::SeqCst) && to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            passed.fetch_add(count, Ordering::SeqCst);
            if begins.send((Instant::now() + way, bytes[..count].to_vec())).is_err() {
                break;
            }
        }
    });
}
