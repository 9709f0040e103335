-- Lets requests with a valid RS512 token pass, tells the upstream whose it is, counts them.
-- A token that was verified is remembered until it ends; a bad one is verified each time.

local ffi = require "ffi"
local json = require "cjson.safe"
local lrucache = require "resty.lrucache"
local decode = require("ngx.base64").decode_base64url

local C = ffi.C

ffi.cdef [[
typedef struct bio_st BIO;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct engine_st ENGINE;
BIO *BIO_new_mem_buf(const void *buf, int len);
int BIO_free(BIO *bio);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bio, EVP_PKEY **key, void *callback, void *data);
EVP_MD_CTX *EVP_MD_CTX_new(void);
int EVP_MD_CTX_reset(EVP_MD_CTX *context);
const EVP_MD *EVP_sha512(void);
int EVP_DigestVerifyInit(EVP_MD_CTX *context, EVP_PKEY_CTX **key_context, const EVP_MD *digest,
                         ENGINE *engine, EVP_PKEY *key);
int EVP_DigestVerify(EVP_MD_CTX *context, const unsigned char *signature, size_t signature_length,
                     const unsigned char *text, size_t text_length);
void ERR_clear_error(void);
]]

local guard = {}
local key, context, limit
local verified = assert(lrucache.new(10000))

function guard.init(file, requests_per_minute)
   local input = assert(io.open(file))
   local pem = input:read("*a")
   input:close()
   local bio = C.BIO_new_mem_buf(pem, #pem)
   key = C.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
   C.BIO_free(bio)
   assert(key ~= nil, "no public key")
   context = C.EVP_MD_CTX_new()
   limit = requests_per_minute
end

local function is_signed(text, signature)
   C.EVP_MD_CTX_reset(context)
   local good = C.EVP_DigestVerifyInit(context, nil, C.EVP_sha512(), nil, key) == 1
      and C.EVP_DigestVerify(context, signature, #signature, text, #text) == 1
   if not good then C.ERR_clear_error() end
   return good
end

local function verify(token)
   local text, head, body, tail = token:match("^(([^.]+)%.([^.]+))%.([^.]+)$")
   if not text then return end
   local header, claims = json.decode(decode(head) or ""), json.decode(decode(body) or "")
   local signature = decode(tail)
   if type(header) ~= "table" or type(claims) ~= "table" or not signature then return end
   if header.alg ~= "RS512" or type(claims.sub) ~= "string" then return end
   if type(claims.exp) ~= "number" or not is_signed(text, signature) then return end
   return claims
end

function guard.check()
   local bearer = ngx.var.http_authorization
   local token = bearer and bearer:sub(1, 7) == "Bearer " and bearer:sub(8)
   if not token then return ngx.exit(401) end
   local claims = verified:get(token)
   if not claims then
      claims = verify(token)
      if not claims then return ngx.exit(401) end
      verified:set(token, claims)
   end
   if claims.exp <= ngx.time() then return ngx.exit(401) end
   local count = ngx.shared.counters:incr(claims.sub, 1, 0, 60)
   if count and count > limit then return ngx.exit(429) end
   ngx.req.set_header("X-AppinstanceID", claims.sub)
end

return guard
