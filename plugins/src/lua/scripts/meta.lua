return { _NAME = "kong", _VERSION = kong.version, version = kong.version }
