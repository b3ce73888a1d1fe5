"""The signed data path: signs and sends requests on HTTP/1.1 connections of its own."""
