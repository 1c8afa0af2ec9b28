//! rota-monitor
