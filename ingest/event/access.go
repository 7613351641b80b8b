package event

import "strings"

// DeriveAccess classifies an operation whose producer did not: by its HTTP method, else by the verb of the
// action, which is its last dotted part ("post.create") or the first word of a CamelCase name ("CreateUser").
func DeriveAccess(method, action string) Access {
	switch method {
	case "GET", "HEAD", "OPTIONS", "get", "head", "options":
		return Read
	case "POST", "PUT", "PATCH", "post", "put", "patch":
		return Write
	case "DELETE", "delete":
		return Delete
	}
	verb := action[strings.LastIndexByte(action, '.')+1:]
	for i := 1; i < len(verb); i++ {
		if c := verb[i]; c >= 'A' && c <= 'Z' || c == '_' || c == '-' {
			verb = verb[:i]
			break
		}
	}
	switch strings.ToLower(verb) {
	case "get", "list", "read", "search", "head", "describe", "query", "fetch", "view", "lookup", "download", "scan":
		return Read
	case "create", "update", "put", "post", "send", "write", "add", "set", "upload", "edit", "vote", "reply", "copy", "move", "publish", "schedule", "reserve", "invite":
		return Write
	case "delete", "remove", "terminate", "purge", "drop", "cancel":
		return Delete
	case "login", "logout", "authenticate", "assume", "token", "refresh", "signin":
		return Auth
	case "grant", "attach", "admin", "configure", "enable", "disable", "modify", "stop":
		return Admin
	}
	return AccessUnknown
}
