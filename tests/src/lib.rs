//! rota-tests
