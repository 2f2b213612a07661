--
-- PostgreSQL database dump
--

SET client_encoding = 'UTF8';
COPY rpt.recipient_lookup (id) FROM stdin;
