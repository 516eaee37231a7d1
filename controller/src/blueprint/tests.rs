//! The shell against real central nodes in this process, over sockets, and an API server of a few lines.

mod world;
mod publishing;
mod faults;
mod documents;
mod leaving;
mod standing;
mod sharing;
