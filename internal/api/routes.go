package api

import "github.com/gofiber/fiber/v2"

// routes names every route. What stands above the check of access is open to all.
func (s *Server) routes() {
	s.app.Use(s.around)
	for _, prefix := range []string{"", s.config.Prefix} {
		s.app.Get(prefix+"/healthz", s.getHealth)
		s.app.Get(prefix+"/readyz", s.getReadiness)
		if s.config.Prefix == "" {
			break
		}
	}
	if a := newAccess(&s.config); a != nil {
		s.app.Use(a.check)
	}
	// Fiber answers HEAD wherever it answers GET.
	r := s.app.Group(s.config.Prefix)
	s.jobRoutes(r)
	s.hostRoutes(r)
	s.documentRoutes(r)
}

func (s *Server) jobRoutes(r fiber.Router) {
	r.Post("/jobs", s.postJob)
	r.Get("/jobs", s.getJobs)
	r.Get("/jobs/:id", s.getJob)
	r.Get("/jobs/:id/log", s.getLog)
	r.Post("/jobs/:id/cancel", s.postCancel)
}

func (s *Server) hostRoutes(r fiber.Router) {
	r.Get("/hosts", s.getHosts)
	r.Get("/status", s.getStatus)
	r.Get("/status/:instance", s.getInstance)
	r.Get("/templates", s.getTemplates)
	r.Get("/labs", s.getLabs)
}

func (s *Server) documentRoutes(r fiber.Router) {
	r.Get("/openapi.json", s.getOpenAPI())
	r.Get("/docs", s.getDocs)
	r.Get("/docs/:file", s.getDocsFile)
}
