<?xml version="1.0" encoding="UTF-8"?>
<!-- Bausteine für Bauakten: Text in Kleinbuchstaben, und ein Feld nur dann, wenn es einen Inhalt hat. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">

  <xsl:template name="klein">
    <xsl:param name="text"/>
    <xsl:value-of select="translate(normalize-space($text), 'ABCDEF', 'abcdef')"/>
  </xsl:template>

  <xsl:template name="feld">
    <xsl:param name="name"/>
    <xsl:param name="text"/>
    <xsl:if test="normalize-space($text)">
      <xsl:element name="{$name}" namespace="urn:xoev-hub:beispiel:bauakte_1.0">
        <xsl:value-of select="normalize-space($text)"/>
      </xsl:element>
    </xsl:if>
  </xsl:template>
</xsl:stylesheet>
