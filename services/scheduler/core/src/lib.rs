//! rota-scheduler-core
