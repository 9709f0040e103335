//! [`Api`]: the parts the documents are made of.

use crate::face::Face;

/// One of the platform's APIs, a group of operations in the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    ServiceManagement,
    ApplicationSupport,
    Registrations,
    Capif,
    DialectServices,
    DialectSupport,
    Management,
    Governance,
    Tokens,
    AccessKeys,
    Records,
    Health,
}

impl Api {
    /// All of them, in the documents' order.
    pub(super) const ALL: [Self; 12] = [
        Self::ServiceManagement,
        Self::ApplicationSupport,
        Self::Registrations,
        Self::Capif,
        Self::Tokens,
        Self::DialectServices,
        Self::DialectSupport,
        Self::Management,
        Self::Governance,
        Self::AccessKeys,
        Self::Records,
        Self::Health,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ServiceManagement => "ETSI service management",
            Self::ApplicationSupport => "ETSI application support",
            Self::Registrations => "ETSI application registrations",
            Self::Capif => "ETSI CAPIF profile",
            Self::DialectServices => "EdgeGallery service management",
            Self::DialectSupport => "EdgeGallery application support",
            Self::Management => "EdgeGallery Mm5",
            Self::Governance => "EdgeGallery service governance",
            Self::Tokens => "Tokens",
            Self::AccessKeys => "EdgeGallery key pairs",
            Self::Records => "EdgeGallery DNS records",
            Self::Health => "EdgeGallery health",
        }
    }

    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::ServiceManagement => "ETSI GS MEC 011, clause 8: offering and finding services.",
            Self::ApplicationSupport => "ETSI GS MEC 011, clause 7: rules, time, life cycle.",
            Self::Registrations => "ETSI GS MEC 011 v3, clauses 7.2.13 and 7.2.14.",
            Self::Capif => "ETSI GS MEC 011 v3, clause 9; 3GPP TS 29.222: the same services.",
            Self::DialectServices => "The same services, in EdgeGallery's form.",
            Self::DialectSupport => "The same rules and time, in EdgeGallery's form.",
            Self::Management => "What the life-cycle manager tells the platform.",
            Self::Governance => "Numbers for portals.",
            Self::Tokens => "A signed request (SDK-HMAC-SHA256) gets the token all others need.",
            Self::AccessKeys => "Which keys an application signs with; by trusted addresses only.",
            Self::Records => "Records of the name server; whoever reaches it may change them.",
            Self::Health => "Whether the platform is well.",
        }
    }

    /// In which of the two forms it speaks. Tokens are asked for in one way only.
    pub(super) const fn face(self) -> Option<Face> {
        match self {
            Self::ServiceManagement
            | Self::ApplicationSupport
            | Self::Registrations
            | Self::Capif => Some(Face::Standard),
            Self::Tokens => None,
            _ => Some(Face::Dialect),
        }
    }

    /// Whether it is reached by the gateway, and not only at a listener of its own.
    pub(super) const fn by_gateway(self, management: bool) -> bool {
        match self {
            Self::Management | Self::Governance => management,
            Self::Records | Self::Health => false,
            _ => true,
        }
    }
}
