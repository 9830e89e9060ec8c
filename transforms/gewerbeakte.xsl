<?xml version="1.0" encoding="UTF-8"?>
<!-- Aus einer Gewerbeanzeige (XGewerbeanzeige 2.2) wird eine Meldung für die Gewerbeakte 1.0.

     Genau eine Meldung je Nachricht: stehen mehrere darin, endet die Umsetzung mit diesem Satz, statt eine zu verlieren. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:x="http://www.xgewerbeanzeige.de/spezifikation/2.2" xmlns="urn:xoev-hub:beispiel:gewerbeakte_1.0"
                exclude-result-prefixes="x">

  <xsl:import href="lib/text.xsl"/>
  <xsl:output method="xml" encoding="UTF-8" indent="yes"/>
  <xsl:param name="received_at"/>

  <xsl:template match="/*">
    <xsl:if test="count(x:satz/*) != 1">
      <xsl:message terminate="yes">erwartet ist genau eine An-, Um- oder Abmeldung</xsl:message>
    </xsl:if>
    <xsl:apply-templates select="x:satz/*"/>
  </xsl:template>

  <xsl:template match="x:satz/*">
    <xsl:variable name="betrieb" select="x:gewerbe"/>
    <xsl:variable name="anschrift" select="$betrieb/x:anschrift"/>
    <meldung eingang="{$received_at}" gemeinde="{normalize-space(x:gemeindeSchluessel/code)}">
      <xsl:attribute name="vordruck">
        <xsl:choose>
          <xsl:when test="self::x:anmeldung">GewA1</xsl:when>
          <xsl:when test="self::x:ummeldung">GewA2</xsl:when>
          <xsl:when test="self::x:abmeldung">GewA3</xsl:when>
        </xsl:choose>
      </xsl:attribute>
      <xsl:attribute name="nummer">
        <xsl:call-template name="klein">
          <xsl:with-param name="text" select="/*/x:nachrichtenkopf/x:identifikation.nachricht/x:nachrichtenUUID"/>
        </xsl:call-template>
      </xsl:attribute>
      <xsl:if test="x:gueltigAb">
        <xsl:attribute name="beginn"><xsl:value-of select="normalize-space(x:gueltigAb)"/></xsl:attribute>
      </xsl:if>
      <betriebsstaette>
        <xsl:attribute name="anschrift">
          <xsl:value-of select="normalize-space(concat($anschrift/x:strasse, ' ', $anschrift/x:hausNrVon))"/>
          <xsl:text>, </xsl:text>
          <xsl:value-of select="normalize-space(concat($anschrift/x:plz, ' ', $anschrift/x:ort))"/>
        </xsl:attribute>
        <xsl:value-of select="normalize-space($betrieb/x:betrieb/x:eingetragenerName)"/>
      </betriebsstaette>
      <xsl:apply-templates select="$betrieb/x:beteiligtePerson"/>
      <taetigkeit>
        <xsl:value-of select="normalize-space(x:taetigkeitenGesamt/x:schwerpunkt/x:taetigkeitSchwerpunkt)"/>
      </taetigkeit>
    </meldung>
  </xsl:template>

  <xsl:template match="x:beteiligtePerson">
    <xsl:variable name="tag" select="normalize-space(x:geburtsdatum)"/>
    <beteiligter geboren="{substring($tag, 5, 4)}-{substring($tag, 3, 2)}-{substring($tag, 1, 2)}">
      <xsl:value-of select="normalize-space(concat(x:familienname, ', ', x:vorname))"/>
    </beteiligter>
  </xsl:template>
</xsl:stylesheet>
