//! rota-submitter
