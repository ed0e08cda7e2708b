package fetch

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const maxURL = 2048

// parse returns a URL that may be tried. What its name resolves to is checked when it is dialled.
func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || strings.ContainsFunc(address, unicode.IsControl) {
		return nil, &Refusal{Text: "is not a URL: use http:// or https://, a host and a path"}
	}
	return check(u)
}

// check refuses what no request is made to, as redirects may want.
func check(u *url.URL) (*url.URL, error) {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, refuse(u, "is neither http nor https: use one of them")
	case u.User != nil:
		return nil, refuse(u, "has a user or password in it: leave it out, the file must be there without a login")
	case u.Hostname() == "":
		return nil, refuse(u, "names no host: use http:// or https://, a host and a path")
	case len(u.String()) > maxURL:
		return nil, refuse(u, "is longer than %d bytes: use a shorter address", maxURL)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, refuse(u, "has a port that is not valid: use 1 to 65535")
		}
	}
	return u, nil
}

// redirect returns where the file has moved to.
func redirect(from *url.URL, location string) (*url.URL, error) {
	if location == "" {
		return nil, refuse(from, "redirects to nowhere: check the address")
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, refuse(from, "redirects to what is not a URL: check the address")
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		return nil, refuse(from, "redirects from https to http, where anybody on the way may change the file: use another address")
	}
	if _, err := check(to); err != nil {
		return nil, refuse(from, "redirects to %s", err)
	}
	return to, nil
}

func status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}
