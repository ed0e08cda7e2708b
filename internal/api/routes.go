package api

import "github.com/gofiber/fiber/v2"

// healthPath is answered whatever the state.
const healthPath = "/healthz"

// routes names every route. What stands above the check of access is open to all.
func (s *Server) routes() {
	s.app.Use(s.around)
	for _, prefix := range []string{"", s.config.Prefix} {
		s.app.Get(prefix+healthPath, s.getHealth)
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
	s.documentRoutes(r) // which do not look at what was sent with them
	s.app.Use(sameSite, unambiguous, s.takeBody, s.tellAge)
	s.jobRoutes(r)
	s.hostRoutes(r)
}

func (s *Server) jobRoutes(r fiber.Router) {
	r.Post("/jobs", s.postJob)
	r.Get("/jobs", s.getJobs)
	r.Get("/jobs/:id", s.getJob)
	r.Get("/jobs/:id/log", s.getLog)
	r.Get("/jobs/:id/events", s.getJobEvents)
	r.Get("/jobs/:id/artifacts", s.getArtifacts)
	r.Get("/jobs/:id/artifact", s.getArtifact)
	r.Get("/jobs/:id/topology", s.getTopology)
	r.Post("/jobs/:id/cancel", s.postCancel)
	r.Get("/events", s.getEvents)
}

func (s *Server) hostRoutes(r fiber.Router) {
	r.Get("/hosts", s.getHosts)
	r.Get("/status", s.getStatus)
	r.Get("/status/:instance", s.getInstance)
	r.Get("/templates", s.getTemplates)
	r.Get("/labs", s.getLabs)
	r.Get("/metrics", s.getMetrics)
	r.Post("/connect", s.postConnect)
	r.Post("/graph", s.postGraph)
}

func (s *Server) documentRoutes(r fiber.Router) {
	r.Get("/openapi.json", s.getOpenAPI())
	r.Get("/docs", s.getDocs)
	r.Get("/docs/:file", s.getDocsFile)
}
