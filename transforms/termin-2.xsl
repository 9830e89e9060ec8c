<?xml version="1.0" encoding="UTF-8"?>
<!-- Aus Termin 1.0 wird Termin 2.0: ein anderer Namensraum, sonst bleibt alles, wie es ist. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:output method="xml" encoding="UTF-8"/>

  <xsl:template match="*">
    <xsl:element name="t:{local-name()}" namespace="urn:xoev-hub:beispiel:termin_2.0">
      <xsl:apply-templates select="@*|node()"/>
    </xsl:element>
  </xsl:template>

  <xsl:template match="@*|text()|comment()">
    <xsl:copy/>
  </xsl:template>
</xsl:stylesheet>
