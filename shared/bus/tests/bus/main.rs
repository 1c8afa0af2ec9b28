//! The bus against a real server: what its own parts promise, without any service.

mod cluster;
mod lanes;
mod leases;
mod listeners;
mod lookups;
mod results;
mod retries;
mod streams;
mod world;
