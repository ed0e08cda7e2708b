package api

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
	viewer "github.com/swaggest/swgui/v5/static"
)

// The page and its script are our own, and all that they load is ours or Swagger UI's, out of the binary.
var (
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/initializer.js
	docsScript []byte
)

// docsPolicy lets the page load nothing from elsewhere. Swagger UI has styles in its markup.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsFiles are what the page loads, by name.
var docsFiles = map[string]struct{ contentType, packed string }{ //nolint:gochecknoglobals // a table that is never written
	"swagger-ui.css":       {"text/css; charset=utf-8", "swagger-ui.css.gz"},
	"swagger-ui-bundle.js": {"text/javascript; charset=utf-8", "swagger-ui-bundle.js.gz"},
	"favicon-32x32.png":    {"image/png", ""},
	"initializer.js":       {"text/javascript; charset=utf-8", ""},
}

// getDocs shows the OpenAPI document as a page. What the page loads it names relative to its own address, so that it works
// behind any proxy; that address has no slash at its end.
func (s *Server) getDocs(c *fiber.Ctx) error {
	if strings.HasSuffix(c.Path(), "/") {
		return c.Redirect("../docs", http.StatusPermanentRedirect)
	}
	c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(docsPage)
}

// getDocsFile gives what the page loads.
func (s *Server) getDocsFile(c *fiber.Ctx) error {
	name := decoded(c.Params("file"))
	file, ok := docsFiles[name]
	if !ok {
		return failed(http.StatusNotFound, "not found")
	}
	content, packed, err := docsContent(name, file.packed, c.Request().Header.HasAcceptEncoding("gzip"))
	if err != nil {
		return err
	}
	if packed {
		c.Set(fiber.HeaderContentEncoding, "gzip")
	}
	c.Set(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	c.Set(fiber.HeaderCacheControl, "private, max-age=3600")
	c.Set(fiber.HeaderContentType, file.contentType)
	return c.Send(content)
}

// docsContent returns the content of a file, still packed where it is and the client unpacks it.
func docsContent(name, packedName string, unpacks bool) (content []byte, packed bool, err error) {
	switch {
	case name == "initializer.js":
		return docsScript, false, nil
	case packedName == "":
		content, err = viewer.FS.ReadFile(name)
		return content, false, err
	}
	content, err = viewer.FS.ReadFile(packedName)
	if err != nil || unpacks {
		return content, true, err
	}
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", packedName, err)
	}
	content, err = io.ReadAll(r)
	return content, false, err
}
