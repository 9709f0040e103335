//! [`Services`]: what `.proto` files say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor,
    SerializeOptions, Value,
};
use protox::Compiler;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

/// The services of a file and of what it imports.
pub(crate) struct Services {
    pool: DescriptorPool,
    methods: HashMap<String, MethodDescriptor>,
}

/// A way to call a method by plain HTTP (google/api/http.proto).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// `get`, `post` …
    pub(crate) verb: String,
    /// `/v1/{name=shelves/*}`
    pub(crate) path: String,
    /// The field the body stands for; `*` for all of them; empty for none.
    pub(crate) body: String,
}

/// Folders where imports are looked for besides the file's own (kong/tools/grpc.lua).
const FOLDERS: [&str; 3] = ["/usr/include", "/usr/local/include", "/usr/local/kong/include"];

impl Services {
    /// Compiles a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with file and line.
    pub(crate) fn load(file: &str) -> Result<Self, String> {
        let file = Path::new(file);
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = file.file_name().ok_or("no file is named")?;
        let mut resolver = ChainFileResolver::new();
        resolver.add(IncludeFileResolver::new(folder.to_owned()));
        for folder in FOLDERS {
            resolver.add(IncludeFileResolver::new(PathBuf::from(folder)));
        }
        resolver.add(GoogleFileResolver::new());
        resolver.add(Annotations);
        let told = |why: protox::Error| format!("{why}");
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        compiler.open_file(name).map_err(told)?;
        let pool = compiler.descriptor_pool();
        let mut methods = HashMap::new();
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                methods.insert(path, method);
            }
        }
        Ok(Self { pool, methods })
    }

    /// The method of a path, `/package.Service/Method`.
    pub(crate) fn method(&self, path: &str) -> Option<&MethodDescriptor> {
        self.methods.get(path)
    }

    /// Every method with its path and the ways to call it by plain HTTP, in the order of paths.
    pub(crate) fn bindings(&self) -> Vec<(String, MethodDescriptor, Binding)> {
        let Some(http) = self.pool.get_extension_by_name("google.api.http") else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for (path, method) in &self.methods {
            let options = method.options();
            if !options.has_extension(&http) {
                continue;
            }
            let Value::Message(rule) = &*options.get_extension(&http) else { continue };
            add_rule(rule, &mut |binding| all.push((path.clone(), method.clone(), binding)));
        }
        all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        all
    }
}

fn add_rule(rule: &DynamicMessage, add: &mut impl FnMut(Binding)) {
    let text = |name: &str| {
        let value = rule.get_field_by_name(name);
        value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    for verb in ["get", "put", "post", "delete", "patch"] {
        let path = text(verb);
        if !path.is_empty() {
            add(Binding { verb: verb.to_owned(), path, body: text("body") });
        }
    }
    if let Some(more) = rule.get_field_by_name("additional_bindings")
        && let Some(more) = more.as_list()
    {
        for one in more.iter().filter_map(Value::as_message) {
            add_rule(one, add);
        }
    }
}

/// A message of JSON.
///
/// # Errors
///
/// What does not fit the message.
pub(crate) fn encode(kind: MessageDescriptor, json: serde_json::Value) -> Result<Bytes, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(kind, json, &options);
    Ok(message.map_err(|why| why.to_string())?.encode_to_vec().into())
}

/// JSON of a message: fields are called as in their file, and all are told.
///
/// # Errors
///
/// What is no message of this kind.
pub(crate) fn decode(kind: MessageDescriptor, bytes: Bytes) -> Result<Vec<u8>, String> {
    let message = DynamicMessage::decode(kind, bytes).map_err(|why| why.to_string())?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false)
        .stringify_64_bit_integers(false);
    let mut json = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut json, &options).map_err(|why| why.to_string())?;
    Ok(json.into_inner())
}

/// The annotations of Google's API files, which protobuf's own includes lack: names and numbers of
/// `google/api/http.proto` and `google/api/annotations.proto`.
struct Annotations;

const HTTP: &str = r#"
syntax = "proto3";
package google.api;
message Http {
  repeated HttpRule rules = 1;
  bool fully_decode_reserved_expansion = 2;
}
message HttpRule {
  string selector = 1;
  oneof pattern {
    string get = 2;
    string put = 3;
    string post = 4;
    string delete = 5;
    string patch = 6;
    CustomHttpPattern custom = 8;
  }
  string body = 7;
  repeated HttpRule additional_bindings = 11;
  string response_body = 12;
}
message CustomHttpPattern {
  string kind = 1;
  string path = 2;
}
"#;

const ANNOTATIONS: &str = r#"
syntax = "proto3";
package google.api;
import "google/api/http.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions {
  HttpRule http = 72295728;
}
"#;

impl FileResolver for Annotations {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "google/api/http.proto" => File::from_source(name, HTTP),
            "google/api/annotations.proto" => File::from_source(name, ANNOTATIONS),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}
