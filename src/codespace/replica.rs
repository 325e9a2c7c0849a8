//! A far replica: four verbs over one connection.
